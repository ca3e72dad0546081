package org.understudy.failover;

/**
 * How a promotion goes.
 *
 * @param start whether the guest is started; if not it stays paused with all its pages, for a look
 * @param loadDeadlineMs for QEMU to load the device state
 * @param startDeadlineMs for the guest to run, from the order to start it
 * @param endDeadlineMs for QEMU to finish after the last page
 */
public record PromotionSettings(
    boolean start, long loadDeadlineMs, long startDeadlineMs, long endDeadlineMs) {
  /** Values for real use. */
  public static PromotionSettings defaults() {
    return new PromotionSettings(true, 10_000, 30_000, 30_000);
  }
}
