package org.understudy.failover;

import org.understudy.guest.PageSet;

/**
 * What a promotion did. Times are ms from its beginning; a time that was not reached is -1.
 *
 * @param epoch the epoch that was promoted
 * @param outcome how it ended
 * @param preparedMs last look at the standby done, about to write LISTEN, device state and RUN
 * @param loadedMs QEMU had loaded the devices (PONG)
 * @param runningMs the guest ran, as the monitor saw it
 * @param totalMs all pages were in the guest and QEMU was done
 * @param pages what happened to the pages
 * @param wantedLoading which of the wanted pages QEMU asked for while it loaded the devices, before
 *     the guest could run
 * @param demand how long wanted pages waited
 */
public record PromotionReport(
    long epoch,
    Outcome outcome,
    double preparedMs,
    double loadedMs,
    double runningMs,
    double totalMs,
    Pages pages,
    PageSet wantedLoading,
    Demand demand) {

  /** How a promotion ended. */
  public sealed interface Outcome {
    /** All pages are in the guest, QEMU is done, and the guest runs if it was to be started. */
    record Completed() implements Outcome {}

    /**
     * This standby is lost, as far as is known before the guest ran (if QEMU takes a {@link
     * Recovery}, it had). The committed image is untouched: the promotion can be repeated with
     * another standby.
     */
    record Repeatable(String reason) implements Outcome {}

    /**
     * The guest ran and the stream broke. QEMU is in postcopy-paused and the guest waits at the
     * first page that is missing, until a new stream comes by {@link Recovery}.
     */
    record AwaitsRecovery(String reason) implements Outcome {}

    /** All pages are in the guest, but it could not be started; starting it can be repeated. */
    record NotStarted(String reason) implements Outcome {}
  }

  /**
   * Numbers of pages.
   *
   * @param resident in the guest before, and right
   * @param stale in the guest with content of another epoch, taken out
   * @param strays brought into being by somebody reading the paused guest, taken out
   * @param vanished placed but gone again
   * @param wanted asked for by QEMU and then sent, not zero
   * @param wantedZero asked for by QEMU and then sent, zero
   * @param pushed sent without being asked for, not zero
   * @param pushedZero sent without being asked for, zero
   */
  public record Pages(
      int resident,
      int stale,
      int strays,
      int vanished,
      int wanted,
      int wantedZero,
      int pushed,
      int pushedZero) {}

  /** Time from a request's arrival to the page being written to QEMU, in µs. */
  public record Demand(double p50Micros, double p99Micros, double longestMicros) {}
}
