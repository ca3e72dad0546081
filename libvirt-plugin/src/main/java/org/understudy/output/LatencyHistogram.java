package org.understudy.output;

/**
 * How long packets were held, in microseconds: eight buckets for each power of two, so a quantile
 * is at most an eighth too large. Forgets what is older than two periods. One thread.
 */
final class LatencyHistogram {
  private static final int PER_POWER = 8;
  private static final int BUCKETS = 40 * PER_POWER;

  private long[] now = new long[BUCKETS];
  private long[] before = new long[BUCKETS];

  /** A packet was held for {@code ns} nanoseconds. */
  void add(long ns) {
    now[bucket(Math.max(0, ns) / 1000)]++;
  }

  /** A period has ended: what was counted in the one before it is forgotten. */
  void turn() {
    long[] oldest = before;
    before = now;
    now = oldest;
    java.util.Arrays.fill(now, 0);
  }

  /** Number of packets counted. */
  long count() {
    long count = 0;
    for (int i = 0; i < BUCKETS; i++) {
      count += now[i] + before[i];
    }
    return count;
  }

  /**
   * The time within which a share of the packets went out.
   *
   * @param share 0 to 1
   * @return microseconds, 0 if no packet was counted
   */
  long quantileUs(double share) {
    long rank = (long) Math.ceil(share * count());
    long seen = 0;
    for (int i = 0; i < BUCKETS && rank > 0; i++) {
      seen += now[i] + before[i];
      if (seen >= rank) {
        return last(i);
      }
    }
    return 0;
  }

  private static int bucket(long us) {
    if (us < PER_POWER) {
      return (int) us;
    }
    int power = 63 - Long.numberOfLeadingZeros(us);
    return Math.min(BUCKETS - 1, (power - 2) * PER_POWER + (int) ((us >> (power - 3)) & 7));
  }

  /** The largest value that falls into a bucket. */
  private static long last(int bucket) {
    if (bucket < PER_POWER) {
      return bucket;
    }
    int power = bucket / PER_POWER + 2;
    return ((long) (PER_POWER + bucket % PER_POWER + 1) << (power - 3)) - 1;
  }
}
