/* A load on redis whose data can be proven complete.
 *
 * Transaction k is MULTI, SET key:SLOT(k) VALUE(k), SET last k, EXEC; SLOT and VALUE follow from k alone. The first
 * transactions fill every slot once, later ones write mostly a hot part. So from redis' own "last" follows what every key
 * must hold: a lost, torn or older key shows, and so does a newer one. Beside the writes the program reads keys (mostly
 * hot) and scans all of them again and again; every value read is compared byte by byte.
 *
 * Kernel command line: redis.size (MiB of values, 100), redis.value (bytes, 4000), redis.rate (transactions/s, 200),
 * redis.reads (reads/s, 400), redis.scan (s for one pass over all keys, 20).
 * Serial port: "redis ready", then "redis last=K ok keys=N ops/s=R pass=P", or for ever "REDIS FAILED what".
 */
#include "guest.h"

#include <sys/socket.h>
#include <sys/un.h>

enum { TICKS = 20, WINDOW = 64, MAX_VALUE = 65536 };

static int connection;
static char input[1 << 17], output[WINDOW * (MAX_VALUE + 256)];
static size_t input_at, input_end, output_end;
static u64 slots, value_bytes, last, hot_slots, operations;
static u64 *expected; /* the transaction that last wrote each slot */

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  for (;; usleep(200000)) say("REDIS FAILED last=%lu: %s", last, text);
}

static u64 slot_of(u64 k) {
  if (k <= slots) return k - 1;
  u64 random = mix(k);
  return (random >> 8) % ((random & 7) < 6 ? hot_slots : slots);
}

/* "k:slot:" and then half as good as random letters, half repeating. */
static void value_of(u64 k, char *value) {
  int n = snprintf(value, 48, "%lu:%lu:", k, slot_of(k));
  u64 x = mix(k ^ 0x7265646973u);
  for (u64 i = (u64)n; i < value_bytes; i++) {
    if (i < value_bytes / 2) x = x * 6364136223846793005u + 1442695040888963407u;
    value[i] = (char)('a' + (i < value_bytes / 2 ? (x >> 33) % 26 : k % 26));
  }
}

static void flush_output(void) {
  for (size_t at = 0; at < output_end;) {
    ssize_t n = write(connection, output + at, output_end - at);
    if (n <= 0) fail("redis took only %zu of %zu bytes", at, output_end);
    at += (size_t)n;
  }
  output_end = 0;
}

static void put(const char *bytes, size_t length) {
  memcpy(output + output_end, bytes, length);
  output_end += length;
}

static void command(const char *name, const char *key, const char *value, size_t length) {
  char text[160];
  int parts = 1 + (key != NULL) + (value != NULL);
  int n = snprintf(text, sizeof text, "*%d\r\n$%zu\r\n%s\r\n", parts, strlen(name), name);
  if (key) n += snprintf(text + n, sizeof text - (size_t)n, "$%zu\r\n%s\r\n", strlen(key), key);
  if (value) n += snprintf(text + n, sizeof text - (size_t)n, "$%zu\r\n", length);
  put(text, (size_t)n);
  if (value) {
    put(value, length);
    put("\r\n", 2);
  }
}

static char take(void) {
  if (input_at == input_end) {
    ssize_t n = read(connection, input, sizeof input);
    if (n <= 0) fail("redis closed the connection");
    input_at = 0;
    input_end = (size_t)n;
  }
  return input[input_at++];
}

static void line(char *text, size_t size) {
  size_t n = 0;
  for (char c; (c = take()) != '\n';)
    if (c != '\r' && n < size - 1) text[n++] = c;
  text[n] = 0;
}

static void expect(const char *reply) {
  char text[200];
  line(text, sizeof text);
  if (strcmp(text, reply) != 0) fail("redis replied \"%s\", expected \"%s\"", text, reply);
}

/* A bulk reply into value; its length, or -1 for "no such key". */
static long bulk(char *value) {
  char text[200];
  line(text, sizeof text);
  if (text[0] != '$') fail("redis replied \"%s\", expected a value", text);
  long length = atol(text + 1);
  if (length > MAX_VALUE) fail("a value of %ld bytes", length);
  for (long i = 0; i < length; i++) value[i] = take();
  if (length >= 0) expect("");
  return length;
}

static void write_transactions(u64 count) {
  static char value[MAX_VALUE], key[48], number[24];
  while (count > 0) {
    u64 window = count < WINDOW / 2 ? count : WINDOW / 2;
    for (u64 i = 1; i <= window; i++) {
      u64 k = last + i;
      value_of(k, value);
      snprintf(key, sizeof key, "key:%lu", slot_of(k));
      int n = snprintf(number, sizeof number, "%lu", k);
      command("MULTI", NULL, NULL, 0);
      command("SET", key, value, value_bytes);
      command("SET", "last", number, (size_t)n);
      command("EXEC", NULL, NULL, 0);
    }
    flush_output();
    for (u64 i = 0; i < window; i++) {
      expect("+OK");
      expect("+QUEUED");
      expect("+QUEUED");
      expect("*2");
      expect("+OK");
      expect("+OK");
      last++;
      expected[slot_of(last)] = last;
    }
    count -= window;
    operations += 2 * window;
  }
}

static void check_last(void) {
  char value[MAX_VALUE];
  command("GET", "last", NULL, 0);
  flush_output();
  long n = bulk(value);
  value[n < 0 ? 0 : n] = 0;
  if (n < 0 || strtoul(value, NULL, 10) != last) fail("redis says last=\"%s\", expected %lu", value, last);
  operations++;
}

static void read_slots(const u64 *wanted, u64 count) {
  static char value[MAX_VALUE], right[MAX_VALUE], key[48];
  for (u64 done = 0; done < count;) {
    u64 window = count - done < WINDOW ? count - done : WINDOW;
    for (u64 i = 0; i < window; i++) {
      snprintf(key, sizeof key, "key:%lu", wanted[done + i]);
      command("GET", key, NULL, 0);
    }
    flush_output();
    for (u64 i = 0; i < window; i++) {
      u64 slot = wanted[done + i];
      long n = bulk(value);
      if (n < 0) fail("key:%lu is missing, expected the value of transaction %lu", slot, expected[slot]);
      value_of(expected[slot], right);
      if ((u64)n != value_bytes || memcmp(value, right, value_bytes) != 0)
        fail("key:%lu holds \"%.40s\" (%ld bytes), expected \"%.40s\"", slot, value, n, right);
    }
    done += window;
    operations += window;
  }
}

/* What must be in redis, worked out anew from its "last": independent of the table that the writer keeps. */
static void check_table(void) {
  u64 *again = calloc(slots, sizeof *again);
  if (again == NULL) fail("no memory for %lu slots", slots);
  for (u64 k = 1; k <= last; k++) again[slot_of(k)] = k;
  for (u64 i = 0; i < slots; i++)
    if (again[i] != expected[i]) fail("the table says %lu for key:%lu, expected %lu", expected[i], i, again[i]);
  free(again);
  char text[64];
  command("DBSIZE", NULL, NULL, 0);
  flush_output();
  snprintf(text, sizeof text, ":%lu", slots + 1);
  expect(text);
}

static void connect_redis(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  connection = socket(AF_UNIX, SOCK_STREAM, 0);
  for (int i = 0; connect(connection, (struct sockaddr *)&address, sizeof address) != 0; i++) {
    if (i > 600) fail("redis does not listen on %s", path);
    usleep(100000);
  }
}

int main(int count, char **arguments) {
  value_bytes = (u64)cmdline_number("redis.value", 4000);
  if (value_bytes < 64 || value_bytes > MAX_VALUE) fail("redis.value=%lu, expected 64 to %d", value_bytes, MAX_VALUE);
  slots = (u64)cmdline_number("redis.size", 100) * 1048576u / value_bytes;
  hot_slots = slots / 10 + 1;
  expected = calloc(slots, sizeof *expected);
  if (expected == NULL) fail("no memory for %lu slots", slots);
  u64 writes = (u64)cmdline_number("redis.rate", 200) / TICKS, reads = (u64)cmdline_number("redis.reads", 400) / TICKS;
  u64 scans = slots / ((u64)cmdline_number("redis.scan", 20) * TICKS) + 1;
  u64 *wanted = calloc(reads + scans, sizeof *wanted);
  connect_redis(count > 1 ? arguments[1] : "/run/redis.sock");
  while (last < slots) {
    write_transactions(slots - last < 1024 ? slots - last : 1024);
    say("redis filling %lu of %lu", last, slots);
  }
  say("redis ready");
  u64 tick = now_ns(), since = tick, passes = 0, cursor = 0, random = 1;
  operations = 0;
  double rate = 0;
  for (u64 round = 1;; round++) {
    write_transactions(writes);
    check_last();
    u64 n = 0;
    for (; n < reads; n++) {
      random = mix(random);
      wanted[n] = (random >> 8) % ((random & 7) < 6 ? hot_slots : slots);
    }
    for (u64 i = 0; i < scans && cursor < slots; i++) wanted[n++] = cursor++;
    read_slots(wanted, n);
    if (cursor == slots) {
      check_table();
      cursor = 0;
      passes++;
    }
    if (round % TICKS == 0) {
      u64 now = now_ns();
      rate = (double)operations * 1e9 / (double)(now - since);
      operations = 0;
      since = now;
    }
    if (round % 4 == 0) say("redis last=%lu ok keys=%lu ops/s=%.0f pass=%lu", last, slots, rate, passes);
    tick = next_tick(tick, 1000000000u / TICKS);
  }
}
