/* A guest that proves itself: memory whose every page must hold exactly what is recorded for it.
 *
 * Each worker process owns an area of pages and a record of it (table, its complement, sum, intent, commit). Transaction
 * t writes its intent, rewrites K pages as version t, and its commit. Every page is compared word by word with what the
 * record says: before it is rewritten, and again and again in passes over the whole area. A page that is lost, zero,
 * swapped, torn, older or newer than the rest contradicts the record; a part of the record that is older or newer
 * contradicts the sum, the complement, or the counter in the worker's registers. So memory put together of two instants
 * shows itself within one pass.
 *
 * Kernel command line: proof.size (MiB, 64), proof.workers (1), proof.rate (MiB/s rewritten, 8), proof.touch (pages a
 * transaction, 64), proof.check (MiB/s compared, proof.size), proof.seed (1), proof.line (ms between lines, 80).
 *
 * Serial port: "proof ready", then "proof COUNTER ok SECONDS pass=N", or for ever "PROOF FAILED what, where, expected".
 * COUNTER is the sum of the workers' committed transactions, N the passes that the slowest worker has completed.
 */
#define _GNU_SOURCE
#include "guest.h"

#include <sys/mman.h>
#include <sys/wait.h>

enum { WORDS = 512, BODY = 507, PAGE = 4096, MAX_WORKERS = 64 };
#define MAGIC 0x50524f4f46504147u /* "PROOFPAG" */

struct page {
  u64 magic, number, version, link; /* link: the page that the same transaction wrote before this one */
  u64 body[BODY];
  u64 sum;
};

struct status { /* one a worker, shared with the process that prints */
  volatile u64 ready, committed, complement, passes, failed;
  char failure[360];
  char fill[PAGE - 5 * 8 - 360];
};

struct record {
  u64 *version, *complement, *link;
  u64 sum, intent, commit, pages;
};

static struct status *status;
static u64 seed;
static int worker;

static u64 complement_of(u64 page, u64 version) { return ~(version ^ mix(page)); }

static u64 sum_of(const struct page *page) {
  const u64 *words = (const u64 *)page;
  u64 sum = seed;
  for (int i = 0; i < WORDS - 1; i++) sum = (sum ^ words[i]) * 0x100000001b3u;
  return sum;
}

/* Half of the body is as good as random, half repeats, so that compression and deltas have something to do. */
static u64 body_start(u64 number, u64 version) { return mix(seed ^ mix(number) ^ (version << 20)); }
static u64 body_next(u64 x) { return x * 6364136223846793005u + 1442695040888963407u; }

static void page_write(struct page *page, u64 number, u64 version, u64 link) {
  page->magic = MAGIC;
  page->number = number;
  page->version = version;
  page->link = link;
  u64 x = body_start(number, version);
  for (int i = 0; i < BODY; i++) {
    page->body[i] = i < BODY / 2 ? x : version;
    x = body_next(x);
  }
  page->sum = sum_of(page);
}

static int body_differs(const struct page *page, u64 number, u64 version) {
  u64 x = body_start(number, version), difference = 0;
  for (int i = 0; i < BODY / 2; i++) {
    difference |= page->body[i] ^ x;
    x = body_next(x);
  }
  for (int i = BODY / 2; i < BODY; i++) difference |= page->body[i] ^ version;
  return difference != 0;
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(status[worker].failure, sizeof status[worker].failure, format, arguments);
  va_end(arguments);
  status[worker].failed = 1;
  for (;;) pause();
}

static const char *kind_of(const struct page *page, u64 number, u64 version) {
  const u64 *words = (const u64 *)page;
  u64 any = 0;
  for (int i = 0; i < WORDS; i++) any |= words[i];
  if (any == 0) return "zero";
  if (page->magic != MAGIC) return "foreign";
  if (page->sum != sum_of(page)) return "torn inside the page";
  if (page->number != number) return "another page's content";
  if (page->version < version) return "stale";
  if (page->version > version) return "from the future";
  return "corrupt";
}

static void page_check(const struct page *area, const struct record *record, u64 number, u64 counter) {
  const struct page *page = area + number;
  u64 version = record->version[number], link = record->link[number];
  if (record->complement[number] != complement_of(number, version) || version > counter)
    fail("record of page %lu: version %lu, complement says %lu, counter %lu", number, version,
         ~record->complement[number] ^ mix(number), counter);
  if (page->magic != MAGIC || page->number != number || page->version != version || page->link != link ||
      body_differs(page, number, version) || page->sum != sum_of(page))
    fail("page %lu is %s: number %lu version %lu link %lu, expected version %lu link %lu, counter %lu, at %p", number,
         kind_of(page, number, version), page->number, page->version, page->link, version, link, counter,
         (const void *)page);
  if (link >= record->pages || record->version[link] < version)
    fail("page %lu of version %lu links to page %lu, which is older", number, version, link);
}

static void record_check(const struct record *record, u64 counter) {
  u64 sum = 0;
  for (u64 i = 0; i < record->pages; i++) sum += record->version[i];
  if (sum != record->sum || record->intent != counter || record->commit != counter)
    fail("record: versions add up to %lu, expected %lu; intent %lu, commit %lu, counter %lu", sum, record->sum,
         record->intent, record->commit, counter);
}

static void *map(size_t bytes, int flags) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (at == MAP_FAILED) {
    say("PROOF FAILED no memory for %zu bytes: raise the guest's memory or lower proof.size", bytes);
    exit(1);
  }
  return at;
}

/* Most rewritten pages lie in an eighth of the area, as with real programs. */
static u64 choose(u64 *random, u64 pages) {
  *random = mix(*random);
  u64 span = (*random & 7) < 5 && pages >= 8 ? pages / 8 : pages;
  return (*random >> 8) % span;
}

static void work(u64 pages, u64 touch, double rate, double check_rate) {
  struct page *area = map(pages * PAGE, MAP_PRIVATE);
  struct record *record = map(PAGE, MAP_PRIVATE);
  record->version = map(pages * 8, MAP_PRIVATE);
  record->complement = map(pages * 8, MAP_PRIVATE);
  record->link = map(pages * 8, MAP_PRIVATE);
  record->pages = pages;
  for (u64 i = 0; i < pages; i++) {
    page_write(area + i, i, 0, i);
    record->complement[i] = complement_of(i, 0);
    record->link[i] = i;
  }
  status[worker].complement = ~(u64)0;
  status[worker].ready = 1;

  u64 interval = (u64)(1e9 * (double)touch * PAGE / (rate * 1048576.0));
  double checks = check_rate * 1048576.0 / PAGE * (double)interval / 1e9, owed = 0;
  u64 tick = now_ns(), cursor = 0;
  for (u64 counter = 1;; counter++) {
    u64 random = mix(seed ^ counter), link = pages;
    record->intent = counter;
    for (u64 i = 0; i < touch; i++) {
      u64 number = choose(&random, pages);
      if (record->version[number] == counter) continue; /* chosen twice by this transaction */
      page_check(area, record, number, counter);
      if (link == pages) link = number;
      page_write(area + number, number, counter, link);
      record->sum += counter - record->version[number];
      record->version[number] = counter;
      record->complement[number] = complement_of(number, counter);
      record->link[number] = link;
      link = number;
    }
    record->commit = counter;
    if (status[worker].committed != counter - 1 || status[worker].complement != ~(counter - 1))
      fail("shared counter %lu, complement %lu, expected %lu", status[worker].committed, ~status[worker].complement,
           counter - 1);
    status[worker].committed = counter;
    status[worker].complement = ~counter;
    for (owed += checks; owed >= 1; owed -= 1) {
      page_check(area, record, cursor, counter);
      if (++cursor == pages) {
        record_check(record, counter);
        cursor = 0;
        status[worker].passes++;
      }
    }
    tick = next_tick(tick, interval);
  }
}

int main(void) {
  long workers = cmdline_number("proof.workers", 1), mib = cmdline_number("proof.size", 64);
  long touch = cmdline_number("proof.touch", 64), rate = cmdline_number("proof.rate", 8);
  if (workers < 1 || workers > MAX_WORKERS || mib < workers || touch < 1 || rate < 1) {
    say("PROOF FAILED bad command line: proof.workers=%ld proof.size=%ld proof.touch=%ld proof.rate=%ld", workers, mib,
        touch, rate);
    return 1;
  }
  status = map(sizeof *status * (size_t)workers, MAP_SHARED);
  for (worker = 0; worker < workers; worker++) {
    if (fork() == 0) {
      seed = mix((u64)cmdline_number("proof.seed", 1) * 1000 + (u64)worker);
      work((u64)mib * 256 / (u64)workers, (u64)touch, (double)rate / (double)workers,
           (double)cmdline_number("proof.check", mib) / (double)workers);
    }
  }
  u64 interval = (u64)cmdline_number("proof.line", 80) * 1000000u, tick = now_ns();
  int announced = 0;
  for (;;) {
    u64 counter = 0, passes = ~(u64)0, ready = 0;
    const char *failure = waitpid(-1, NULL, WNOHANG) > 0 ? "a worker died" : NULL;
    for (int i = 0; i < workers; i++) {
      ready += status[i].ready;
      counter += status[i].committed;
      if (status[i].passes < passes) passes = status[i].passes;
      if (status[i].failed) failure = status[i].failure, worker = i;
    }
    u64 ms = now_ns() / 1000000u;
    for (; failure; usleep(200000)) say("PROOF FAILED worker %d: %s", worker, failure);
    if (ready == (u64)workers && !announced++) say("proof ready");
    if (announced) say("proof %lu ok %lu.%03lu pass=%lu", counter, ms / 1000, ms % 1000, passes);
    tick = next_tick(tick, interval);
  }
}
