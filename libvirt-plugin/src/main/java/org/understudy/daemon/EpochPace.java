package org.understudy.daemon;

import java.util.function.LongSupplier;

/**
 * When the next epoch is due: an interval after the last one began, later where capturing or
 * sending takes longer than that. Keeps the figures of the latest epochs for status.
 */
final class EpochPace {
  private final long intervalNs;
  private final LongSupplier clockNs;
  private long startedNs;
  private long lastIntervalNs;

  /** Epochs {@code intervalMs} apart by {@code clockNs}. */
  EpochPace(long intervalMs, LongSupplier clockNs) {
    intervalNs = intervalMs * 1_000_000;
    this.clockNs = clockNs;
    startedNs = clockNs.getAsLong() - intervalNs;
  }

  /** Milliseconds until the next epoch may begin; 0 when it is due. */
  long waitMs() {
    long left = startedNs + intervalNs - clockNs.getAsLong();
    return left <= 0 ? 0 : (left + 999_999) / 1_000_000;
  }

  /** An epoch begins now. */
  void began() {
    long now = clockNs.getAsLong();
    lastIntervalNs = now - startedNs;
    startedNs = now;
  }

  /** Milliseconds between the beginnings of the last two epochs. */
  long lastIntervalMs() {
    return lastIntervalNs / 1_000_000;
  }
}
