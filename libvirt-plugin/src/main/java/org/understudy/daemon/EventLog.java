package org.understudy.daemon;

import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What happened to protections lately, newest last: for {@code understudy events} and for the
 * daemon's log. Thread-safe.
 */
final class EventLog {
  private static final Logger log = LoggerFactory.getLogger(EventLog.class);
  private static final int KEPT = 2000;

  /**
   * One event.
   *
   * @param number counts up from 1
   * @param at wall clock
   * @param domain name of the guest, or "-" for the host
   * @param text one sentence
   */
  record Event(long number, Instant at, String domain, String text) {
    @Override
    public String toString() {
      return at.truncatedTo(ChronoUnit.MILLIS) + "  " + domain + "  " + text;
    }
  }

  private final ArrayDeque<Event> events = new ArrayDeque<>();
  private long last;

  /** Adds an event and logs it. */
  void add(String domain, String text) {
    synchronized (this) {
      events.add(new Event(++last, Instant.now(), domain, text));
      if (events.size() > KEPT) {
        events.remove();
      }
      notifyAll();
    }
    log.info("{}: {}", domain, text);
  }

  /** Events with a number above {@code number} that are still kept. */
  synchronized List<Event> after(long number) {
    List<Event> found = new ArrayList<>();
    for (Event event : events) {
      if (event.number() > number) {
        found.add(event);
      }
    }
    return found;
  }

  /** As {@link #after}, but waits up to {@code waitMs} for the first one. */
  synchronized List<Event> awaitAfter(long number, long waitMs) throws InterruptedException {
    long end = System.nanoTime() + waitMs * 1_000_000;
    for (long leftMs = waitMs; last <= number && leftMs > 0; ) {
      wait(leftMs);
      leftMs = (end - System.nanoTime()) / 1_000_000;
    }
    return after(number);
  }
}
