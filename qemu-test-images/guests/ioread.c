/* Reads a disk of known content with O_DIRECT, hard, into buffers that are compared again later.
 *
 * Block b (4 KiB) of the disk holds words made from b. Each reader keeps a region of buffers; before a buffer is read
 * into again, what it holds must still be what was read the last time. So a copy of a buffer from before its data landed shows.
 *
 * ioread mkdisk FILE MIB   writes the disk (on the host)
 * ioread DEVICE            reads it (in the guest); kernel command line: io.size (MiB of buffers, 16), io.depth
 *                          (readers, 4), io.rate (reads/s of 16 KiB, all readers together, 200; 0: as fast as possible)
 * Serial port: "io COUNTER ok", or for ever "PROOF FAILED io ...".
 */
#define _GNU_SOURCE
#include "guest.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { PAGE = 4096, WORDS = 512, SLOT_BLOCKS = 4, MAX_READERS = 64 };

struct status {
  volatile u64 reads, failed;
  char failure[240];
};

static struct status *status;
static int reader;

static void block_write(u64 *words, u64 block) {
  u64 x = mix(block);
  for (int i = 0; i < WORDS; i++) words[i] = i == 0 ? block : i < WORDS / 2 ? (x += 0x9e3779b97f4a7c15u) : block * 3;
}

static int make_disk(const char *file, long mib) {
  FILE *out = fopen(file, "w");
  u64 words[WORDS];
  if (out == NULL || mib < 1) {
    fprintf(stderr, "ioread: cannot write %s with %ld MiB: %s\n", file, mib, strerror(errno));
    return 1;
  }
  for (u64 block = 0; block < (u64)mib * 256; block++) {
    block_write(words, block);
    if (fwrite(words, sizeof words, 1, out) != 1) {
      fprintf(stderr, "ioread: cannot write block %lu of %s: %s\n", block, file, strerror(errno));
      return 1;
    }
  }
  return fclose(out) != 0;
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(status[reader].failure, sizeof status[reader].failure, format, arguments);
  va_end(arguments);
  status[reader].failed = 1;
  for (;;) pause();
}

static void slot_check(const u64 *words, u64 first, const char *when) {
  u64 expected[WORDS];
  for (u64 block = first; block < first + SLOT_BLOCKS; block++, words += WORDS) {
    block_write(expected, block);
    for (int i = 0; i < WORDS; i++)
      if (words[i] != expected[i])
        fail("io: block %lu %s: word %d is %lx, expected %lx, buffer at %p", block, when, i, words[i], expected[i],
             (const void *)words);
  }
}

static void read_disk(const char *device, u64 slots, u64 interval) {
  int fd = open(device, O_RDONLY | O_DIRECT);
  off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
  u64 blocks = (u64)size / PAGE;
  if (blocks < SLOT_BLOCKS) fail("io: cannot open %s: %s, %lu blocks", device, strerror(errno), blocks);
  char *buffers = mmap(NULL, slots * SLOT_BLOCKS * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  u64 *held = calloc(slots, sizeof *held); /* 1 + first block of what the slot holds */
  if (buffers == MAP_FAILED || held == NULL) fail("io: no memory for %lu buffers", slots);
  u64 random = mix(0x10 + (u64)reader), tick = now_ns();
  for (;;) {
    random = mix(random);
    u64 slot = (random >> 32) % slots, first = (random & 0xffffffff) % (blocks - SLOT_BLOCKS + 1);
    u64 *words = (u64 *)(buffers + slot * SLOT_BLOCKS * PAGE);
    if (held[slot]) slot_check(words, held[slot] - 1, "kept from an earlier read");
    ssize_t n = pread(fd, words, SLOT_BLOCKS * PAGE, (off_t)(first * PAGE));
    if (n != SLOT_BLOCKS * PAGE) fail("io: read at block %lu of %lu gives %zd: %s", first, blocks, n, strerror(errno));
    held[slot] = first + 1;
    slot_check(words, first, "just read");
    status[reader].reads++;
    if (interval) tick = next_tick(tick, interval);
  }
}

int main(int count, char **arguments) {
  if (count == 4 && strcmp(arguments[1], "mkdisk") == 0) return make_disk(arguments[2], atol(arguments[3]));
  if (count != 2) {
    fprintf(stderr, "usage: ioread mkdisk FILE MIB | ioread DEVICE\n");
    return 2;
  }
  long readers = cmdline_number("io.depth", 4), rate = cmdline_number("io.rate", 200);
  if (readers < 1 || readers > MAX_READERS) readers = 4;
  u64 slots = (u64)cmdline_number("io.size", 16) * 256 / SLOT_BLOCKS / (u64)readers;
  status = mmap(NULL, sizeof *status * (size_t)readers, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (reader = 0; reader < readers; reader++)
    if (fork() == 0) read_disk(arguments[1], slots ? slots : 1, rate > 0 ? 1000000000u * (u64)readers / (u64)rate : 0);
  for (u64 tick = now_ns();; tick = next_tick(tick, 250000000u)) {
    u64 reads = 0;
    const char *failure = waitpid(-1, NULL, WNOHANG) > 0 ? "io: a reader died" : NULL;
    for (int i = 0; i < readers; i++) {
      reads += status[i].reads;
      if (status[i].failed) failure = status[i].failure;
    }
    for (; failure; usleep(200000)) say("PROOF FAILED %s", failure);
    say("io %lu ok", reads);
  }
}
