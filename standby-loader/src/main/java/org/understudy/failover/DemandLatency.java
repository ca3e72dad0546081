package org.understudy.failover;

/**
 * How long wanted pages waited: from the request's arrival on the return path until the page was
 * written to QEMU's socket. Buckets of 1/16 of a power of two, so a percentile is at most 7 % too
 * high.
 */
final class DemandLatency {
  private static final int STEPS = 16;
  private final int[] buckets = new int[64 * STEPS];
  private int count;
  private long longestNs;

  void add(long ns) {
    long value = Math.max(STEPS, ns);
    buckets[bucketOf(value)]++;
    count++;
    longestNs = Math.max(longestNs, ns);
  }

  int count() {
    return count;
  }

  /** Upper bound of the bucket that holds percentile {@code percent}, in µs; 0 without samples. */
  double percentileMicros(double percent) {
    long rank = (long) Math.ceil(count * percent / 100);
    long seen = 0;
    for (int i = 0; i < buckets.length && rank > 0; i++) {
      seen += buckets[i];
      if (seen >= rank) {
        return Math.min(longestNs, upperNs(i)) / 1e3;
      }
    }
    return 0;
  }

  double longestMicros() {
    return longestNs / 1e3;
  }

  private static int bucketOf(long ns) {
    int power = 63 - Long.numberOfLeadingZeros(ns);
    return power * STEPS + (int) (ns >>> (power - 4)) - STEPS;
  }

  private static long upperNs(int bucket) {
    int power = bucket / STEPS;
    return (long) (STEPS + bucket % STEPS + 1) << (power - 4);
  }
}
