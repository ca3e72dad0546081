/* What the programs inside the test guests share: kernel command line, time, a mixing function, the serial port. */
#ifndef GUEST_H
#define GUEST_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t u64;

/* The number after " KEY=" on the kernel command line, or the default. */
static inline long cmdline_number(const char *key, long otherwise) {
  static char line[4096];
  if (line[0] == 0) {
    line[0] = ' ';
    int fd = open("/proc/cmdline", O_RDONLY);
    if (fd >= 0) {
      ssize_t n = read(fd, line + 1, sizeof line - 2);
      line[n < 0 ? 1 : n + 1] = 0;
      close(fd);
    }
  }
  size_t length = strlen(key);
  for (const char *at = line; (at = strstr(at, key)) != NULL; at += length)
    if (at[-1] == ' ' && at[length] == '=') return strtol(at + length + 1, NULL, 0);
  return otherwise;
}

static inline u64 now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static inline void sleep_until_ns(u64 deadline) {
  struct timespec t = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0) {
  }
}

/* The next tick of a schedule. A guest that was stopped does not catch up: it goes on at its rate from now. */
static inline u64 next_tick(u64 last, u64 interval) {
  u64 now = now_ns(), next = last + interval;
  if (next + 4 * interval < now) return now;
  if (next > now) sleep_until_ns(next);
  return next;
}

/* splitmix64's finisher. */
static inline u64 mix(u64 x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/* One line in one write, so that lines of several processes do not mix. */
__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  int n = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (n > (int)sizeof line - 2) n = (int)sizeof line - 2;
  line[n++] = '\n';
  for (char *at = line; n > 0;) {
    ssize_t written = write(1, at, (size_t)n);
    if (written < 0) return;
    at += written;
    n -= (int)written;
  }
}

#endif
