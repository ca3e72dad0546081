/* A process that touches its memory as told. One command a line, one line in answer ("error ..." when it failed).
 *
 *   map KIND PAGES [PATH]   KIND: anon thp memfd shared file hugetlb hugememfd; answers the address in hex
 *   write ADDR...           writes a new value into each page
 *   read ADDR...            reads each page
 *   step ADDR PAGES STEP    writes a new value into every STEPth page
 *   dontneed ADDR PAGES     madvise(MADV_DONTNEED)
 *   remap ADDR PAGES        maps fresh anonymous memory in its place
 *   punch ADDR PAGES        punches a hole into the file or memfd mapped there
 *   start PATH ADDR PAGES   a thread reads random pieces of PATH into the range with O_DIRECT until `stop`
 *   pause, go, stop         drains the thread's I/O, lets it go on, ends it (answers the number of reads)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, MAX_RANGES = 64 };
static struct { char *start; size_t length; int fd; } ranges[MAX_RANGES];
static int range_count;
static uint32_t counter;

static int failed(const char *what) { return printf("error %s: %s\n", what, strerror(errno)); }

static int map(const char *kind, size_t pages, const char *path) {
    size_t length = pages * PAGE, align = 2 << 20;
    int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (!strcmp(kind, "memfd") || !strcmp(kind, "hugememfd")) {
        fd = memfd_create("guest", kind[0] == 'h' ? MFD_HUGETLB : 0);
        flags = MAP_SHARED;
    } else if (!strcmp(kind, "file")) {
        fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        flags = MAP_SHARED;
    } else if (!strcmp(kind, "shared")) {
        flags = MAP_SHARED | MAP_ANONYMOUS;
    } else if (!strcmp(kind, "hugetlb")) {
        flags |= MAP_HUGETLB;
    }
    if (flags == MAP_SHARED && (fd < 0 || ftruncate(fd, length))) return failed("file");
    /* An aligned place between two unmapped pages, so that ranges do not merge. */
    char *room = mmap(0, length + 2 * align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *start = (char *)(((uintptr_t)room + align) & -align);
    if (mmap(start, length, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0) == MAP_FAILED) return failed("mmap");
    if (!strcmp(kind, "thp") && madvise(start, length, MADV_HUGEPAGE)) return failed("MADV_HUGEPAGE");
    ranges[range_count].start = start;
    ranges[range_count].length = length;
    ranges[range_count++].fd = fd;
    return printf("%lx\n", (unsigned long)start);
}

static int punch(char *start, size_t length) {
    for (int i = 0; i < range_count; i++)
        if (start >= ranges[i].start && start < ranges[i].start + ranges[i].length)
            return fallocate(ranges[i].fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start - ranges[i].start, length);
    errno = ENOENT;
    return -1;
}

static pthread_t reader;
static pthread_mutex_t io = PTHREAD_MUTEX_INITIALIZER;
static volatile int running;
static char *target;
static size_t target_pages;
static int disk;
static long reads;

static void *read_direct(void *nothing) {
    (void)nothing;
    struct stat file;
    fstat(disk, &file);
    uint64_t state = 88172645463325252u;
    while (running) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        size_t pages = 1 + state % 16, at = (state >> 8) % (target_pages - 16);
        off_t from = (off_t)((state >> 32) % (file.st_size / PAGE - 16)) * PAGE;
        pthread_mutex_lock(&io);
        if (pread(disk, target + at * PAGE, pages * PAGE, from) < 0) reads = -1000000000;
        reads++;
        pthread_mutex_unlock(&io);
        if (state % 64 == 0) usleep(1); /* a mutex is not fair */
    }
    return 0;
}

int main(void) {
    char *line = 0;
    size_t capacity = 0;
    setvbuf(stdout, 0, _IOLBF, 0);
    while (getline(&line, &capacity, stdin) > 0) {
        char *at = line, *word = strsep(&at, " \n");
        if (!strcmp(word, "map")) {
            char *kind = strsep(&at, " \n");
            size_t pages = strtoul(strsep(&at, " \n"), 0, 10);
            map(kind, pages, strsep(&at, "\n"));
        } else if (!strcmp(word, "write") || !strcmp(word, "read")) {
            volatile uint32_t sum = 0;
            for (char *address; (address = strsep(&at, " \n")) && *address;) {
                volatile uint32_t *page = (uint32_t *)strtoul(address, 0, 16);
                if (word[0] == 'w') ++counter, page[17 + counter % 64] = counter;
                else sum += page[0];
            }
            puts("ok");
        } else if (!strcmp(word, "step")) {
            char *start = (char *)strtoul(strsep(&at, " \n"), 0, 16);
            size_t pages = strtoul(strsep(&at, " \n"), 0, 10), step = strtoul(strsep(&at, " \n"), 0, 10);
            for (size_t i = 0; i < pages; i += step) *(volatile uint32_t *)(start + i * PAGE) = ++counter;
            puts("ok");
        } else if (!strcmp(word, "dontneed") || !strcmp(word, "punch")) {
            char *start = (char *)strtoul(strsep(&at, " \n"), 0, 16);
            size_t length = strtoul(strsep(&at, " \n"), 0, 10) * PAGE;
            if (word[0] == 'd' ? madvise(start, length, MADV_DONTNEED) : punch(start, length)) failed(word);
            else puts("ok");
        } else if (!strcmp(word, "remap")) {
            char *start = (char *)strtoul(strsep(&at, " \n"), 0, 16);
            size_t length = strtoul(strsep(&at, " \n"), 0, 10) * PAGE;
            munmap(start, length);
            if (mmap(start, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
                failed(word);
            else puts("ok");
        } else if (!strcmp(word, "start")) {
            disk = open(strsep(&at, " \n"), O_RDONLY | O_DIRECT);
            target = (char *)strtoul(strsep(&at, " \n"), 0, 16);
            target_pages = strtoul(strsep(&at, " \n"), 0, 10);
            running = 1;
            if (disk < 0 || pthread_create(&reader, 0, read_direct, 0)) failed("start");
            else puts("ok");
        } else if (!strcmp(word, "pause")) {
            pthread_mutex_lock(&io);
            puts("ok");
        } else if (!strcmp(word, "go")) {
            pthread_mutex_unlock(&io);
            puts("ok");
        } else if (!strcmp(word, "stop")) {
            running = 0;
            pthread_join(reader, 0);
            printf("%ld\n", reads);
        } else {
            puts("error unknown command");
        }
    }
    return 0;
}
