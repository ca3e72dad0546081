/* A ledger in the guest's RAM, kept for TCP clients: each entry gets the next number and a chain over all before it. What it has
 * acknowledged and later does not know, or knows otherwise, was rolled back under its client's eyes. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "ledger.h"

enum { CLIENTS = 64, KEPT = 1 << 20 };

struct entry {
  u64 id, chain;
};

static struct entry *entries;
static u64 count;

static void answer(struct message *m) {
  if (m->kind == LEDGER_ADD) {
    u64 before = entries[count % KEPT].chain;
    count++;
    entries[count % KEPT] = (struct entry){m->id, chained(before, m->id)};
    m->number = count;
  } else if (m->number == 0 || m->number > count || m->number + KEPT <= count) {
    m->number = 0;
  }
  m->id = entries[m->number % KEPT].id;
  m->chain = entries[m->number % KEPT].chain;
}

/* Messages are smaller than any segment, so they come and go whole, or the client is of another kind. */
static int serve(int fd) {
  struct message m;
  ssize_t n = recv(fd, &m, sizeof m, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n != sizeof m) return -1;
  answer(&m);
  return send(fd, &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof m ? 0 : -1;
}

int main(void) {
  entries = mmap(NULL, KEPT * sizeof *entries, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(LEDGER_PORT)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (entries == MAP_FAILED || bind(listener, (void *)&address, sizeof address) < 0 || listen(listener, 16) < 0) {
    say("PROOF FAILED ledger: %s", strerror(errno));
    return 1;
  }
  say("ledger ready");
  struct pollfd fds[CLIENTS + 1] = {{.fd = listener, .events = POLLIN}};
  for (int i = 1; i <= CLIENTS; i++) fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
  for (u64 said = now_ns();;) {
    poll(fds, CLIENTS + 1, 200);
    if (fds[0].revents) {
      int fd = accept(listener, NULL, NULL), i = 1;
      while (i <= CLIENTS && fds[i].fd >= 0) i++;
      if (fd >= 0 && i <= CLIENTS) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        fds[i].fd = fd;
      } else if (fd >= 0) {
        close(fd);
      }
    }
    for (int i = 1; i <= CLIENTS; i++)
      if (fds[i].fd >= 0 && fds[i].revents && serve(fds[i].fd) < 0) {
        close(fds[i].fd);
        fds[i].fd = -1;
      }
    if (now_ns() - said > 200000000u) {
      said = now_ns();
      say("ledger %llu ok", (unsigned long long)count);
    }
  }
}
