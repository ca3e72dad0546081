/* Outside: enters into a guest's ledger over some TCP connections, remembers every acknowledged entry, and on "verify" asks for
 * each of them again. A program of the host.
 *
 *   ledgerclient ADDRESS CONNECTIONS STALL_MS     reads words from standard input, answers each with a line:
 *     count    acknowledged N reconnected R
 *     rates    acknowledged N p50_us U p99_us U max_us U, of the entries since the last "rates"
 *     verify   stops entering, waits for outstanding answers (STALL_MS at most), then
 *              acknowledged N lost L changed C twice T reconnected R gap_ms G
 *              lost: the ledger knows no such entry; changed: it is another one; twice: one number was acknowledged for two
 *              entries; gap: the longest time without any answer
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "ledger.h"

enum { MOST = 32, RECORDS = 1 << 22 };

struct link {
  int fd;
  int waiting;
  u64 sent_ns, id;
};

static struct sockaddr_in address = {.sin_family = AF_INET};
static struct link links[MOST];
static int connections, reconnected;
static u64 stall_ns, next_id, last_answer_ns, gap_ns;
static struct message *records;
static u64 *took_us;
static size_t count, rated;

static int dial(u64 wait_ns) {
  int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct pollfd ready = {.fd = fd, .events = POLLOUT};
  int error = 0;
  socklen_t size = sizeof error;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if ((connect(fd, (void *)&address, sizeof address) == 0 || errno == EINPROGRESS) &&
      poll(&ready, 1, (int)(wait_ns / 1000000)) == 1 &&
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
    return fd;
  close(fd);
  return -1;
}

static void redial(struct link *l) {
  if (l->fd >= 0) {
    close(l->fd);
    reconnected++;
  }
  l->waiting = 0;
  l->fd = dial(1000000000u);
}

static int compare(const void *a, const void *b) {
  const struct message *x = a, *y = b;
  if (x->number != y->number) return x->number < y->number ? -1 : 1;
  return x->id < y->id ? -1 : x->id > y->id;
}

static int compare_times(const void *a, const void *b) {
  u64 x = *(const u64 *)a, y = *(const u64 *)b;
  return x < y ? -1 : x > y;
}

static void take(struct link *l) {
  struct message m;
  ssize_t n = recv(l->fd, &m, sizeof m, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return;
  if (n != sizeof m || m.id != l->id || m.number == 0) {
    redial(l);
    return;
  }
  u64 now = now_ns();
  if (last_answer_ns && now - last_answer_ns > gap_ns) gap_ns = now - last_answer_ns;
  last_answer_ns = now;
  took_us[count] = (now - l->sent_ns) / 1000;
  if (count < RECORDS - 1) records[count++] = m;
  l->waiting = 0;
}

static void step(int enter, int wait_ms) {
  struct pollfd fds[MOST + 1] = {{.fd = 0, .events = POLLIN}};
  for (int i = 0; i < connections; i++) {
    struct link *l = &links[i];
    if (l->fd >= 0 && l->waiting && now_ns() - l->sent_ns > stall_ns) redial(l);
    if (l->fd < 0 && enter) redial(l);
    if (l->fd >= 0 && !l->waiting && enter) {
      struct message m = {.kind = LEDGER_ADD, .id = l->id = ++next_id};
      l->sent_ns = now_ns();
      l->waiting = 1;
      if (send(l->fd, &m, sizeof m, MSG_NOSIGNAL) != sizeof m) redial(l);
    }
    fds[i + 1] = (struct pollfd){.fd = l->fd, .events = POLLIN};
  }
  poll(fds + (enter ? 0 : 1), (nfds_t)(connections + (enter ? 1 : 0)), wait_ms);
  for (int i = 0; i < connections; i++)
    if (links[i].fd >= 0 && fds[i + 1].revents) take(&links[i]);
}

static int outstanding(void) {
  for (int i = 0; i < connections; i++)
    if (links[i].fd >= 0 && links[i].waiting) return 1;
  return 0;
}

/* One question after the other on one new connection after another, until it is answered. */
static void ask(struct message *m) {
  static int fd = -1;
  struct message question = {.kind = LEDGER_GET, .number = m->number};
  for (;;) {
    struct pollfd ready;
    if (fd < 0) fd = dial(2000000000u);
    ready = (struct pollfd){.fd = fd, .events = POLLIN};
    if (fd >= 0 && send(fd, &question, sizeof question, MSG_NOSIGNAL) == sizeof question && poll(&ready, 1, 5000) == 1 &&
        recv(fd, m, sizeof *m, 0) == sizeof *m)
      return;
    if (fd >= 0) close(fd);
    fd = -1;
  }
}

static void verify(void) {
  while (outstanding()) step(0, 50);
  qsort(records, count, sizeof *records, compare);
  size_t lost = 0, changed = 0, twice = 0;
  for (size_t i = 0; i < count; i++) {
    if (i > 0 && records[i].number == records[i - 1].number) twice++;
    /* A chain of the last one holds all before it; what matters is which number goes wrong first, so all are asked for. */
    struct message now = records[i];
    ask(&now);
    if (now.number == 0)
      lost++;
    else if (now.id != records[i].id || now.chain != records[i].chain)
      changed++;
  }
  printf("acknowledged %zu lost %zu changed %zu twice %zu reconnected %d gap_ms %llu\n", count, lost, changed, twice, reconnected,
         (unsigned long long)(gap_ns / 1000000));
}

static void rates(void) {
  size_t n = count - rated;
  qsort(took_us + rated, n, sizeof *took_us, compare_times);
  u64 *t = took_us + rated;
  printf("acknowledged %zu p50_us %llu p99_us %llu max_us %llu\n", n, (unsigned long long)(n ? t[n / 2] : 0),
         (unsigned long long)(n ? t[n * 99 / 100] : 0), (unsigned long long)(n ? t[n - 1] : 0));
  rated = count;
}

int main(int argc, char **argv) {
  if (argc != 4 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1 || (connections = atoi(argv[2])) < 1 || connections > MOST) {
    fprintf(stderr, "usage: ledgerclient ADDRESS CONNECTIONS STALL_MS\n");
    return 2;
  }
  address.sin_port = htons(LEDGER_PORT);
  stall_ns = (u64)atol(argv[3]) * 1000000u;
  records = calloc(RECORDS, sizeof *records);
  took_us = calloc(RECORDS, sizeof *took_us);
  /* Entries of one client process differ from those of all others. */
  if (getrandom(&next_id, sizeof next_id, 0) != sizeof next_id) return 1;
  for (int i = 0; i < connections; i++) links[i].fd = -1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (;;) {
    step(1, 50);
    struct pollfd in = {.fd = 0, .events = POLLIN};
    char word[64];
    if (poll(&in, 1, 0) == 1) {
      if (fgets(word, sizeof word, stdin) == NULL) return 0;
      if (strcmp(word, "count\n") == 0) printf("acknowledged %zu reconnected %d\n", count, reconnected);
      if (strcmp(word, "rates\n") == 0) rates();
      if (strcmp(word, "verify\n") == 0) verify();
    }
  }
}
