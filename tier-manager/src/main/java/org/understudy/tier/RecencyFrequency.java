package org.understudy.tier;

import java.util.Arrays;
import org.understudy.guest.PageSet;

/**
 * Orders pages by recency and frequency of writes together: each write counts 1 at first and half
 * as much after every {@value #HALF_LIFE} epochs (LRFU). A page's sum is kept as the logarithm of
 * what it was worth at a fixed time, so nothing has to be aged: a write adds to the log, and the
 * order of the logs is the order of the pages. An int a page; the selection is a counting sort over
 * buckets of a sixteenth of a doubling.
 */
public final class RecencyFrequency implements PlacementPolicy {
  /** Epochs after which a write counts half. */
  public static final int HALF_LIFE = 16;

  private static final int FRACTION = 256; // of a doubling
  private static final int STEP = FRACTION / HALF_LIFE; // worth of a write, per epoch
  private static final int REBASE = 1 << 30;
  private static final int BUCKET_SHIFT = 4;
  private static final int BUCKETS = 8192; // 512 doublings; what is colder shares the last one
  private static final int[] SUM = sums();

  private final int[] heat; // 0: never written; else log2 of the sum, in 1/256
  private final int[] start = new int[BUCKETS + 1];
  private int now = FRACTION;

  /** For a guest of so many pages, none of them written yet. */
  public RecencyFrequency(int pages) {
    heat = new int[pages];
  }

  // log2(1 + 2^-d) for a difference d of the logs, rounded up so that equal writes always add.
  private static int[] sums() {
    int[] table = new int[12 * FRACTION];
    for (int d = 0; d < table.length; d++) {
      double log2 = Math.log1p(Math.pow(2, -(double) d / FRACTION)) / Math.log(2);
      table[d] = (int) Math.ceil(log2 * FRACTION);
    }
    return table;
  }

  @Override
  public void written(long epoch, PageSet pages) {
    now += STEP;
    if (now >= REBASE) {
      rebase();
    }
    for (int page = pages.next(0); page >= 0; page = pages.next(page + 1)) {
      int before = heat[page];
      int distance = Math.abs(now - before);
      int larger = Math.max(now, before);
      heat[page] = before == 0 || distance >= SUM.length ? larger : larger + SUM[distance];
    }
  }

  private void rebase() {
    int by = now - REBASE / 2;
    now -= by;
    for (int page = 0; page < heat.length; page++) {
      heat[page] = heat[page] == 0 ? 0 : Math.max(1, heat[page] - by);
    }
  }

  @Override
  public int mostUrgent(PageSet candidates, int[] into) {
    Arrays.fill(start, 0);
    // No page is worth more than one written in every epoch so far.
    int hottest = now + (int) (FRACTION * Math.log(2 * HALF_LIFE) / Math.log(2)) + FRACTION;
    for (int page = candidates.next(0); page >= 0; page = candidates.next(page + 1)) {
      start[bucket(hottest, heat[page]) + 1]++;
    }
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
      start[bucket + 1] += start[bucket];
    }
    int total = start[BUCKETS];
    for (int page = candidates.next(0); page >= 0; page = candidates.next(page + 1)) {
      int rank = start[bucket(hottest, heat[page])]++;
      if (rank < into.length) {
        into[rank] = page;
      }
    }
    return Math.min(total, into.length);
  }

  private static int bucket(int hottest, int heat) {
    return Math.min(BUCKETS - 1, Math.max(0, hottest - heat) >> BUCKET_SHIFT);
  }

  @Override
  public String name() {
    return "RECENCY+FREQUENCY";
  }
}
