package org.understudy.daemon;

import java.io.IOException;
import java.nio.file.Path;
import org.understudy.failover.PromotionReport;
import org.understudy.failover.PromotionSettings;
import org.understudy.failover.Recovery;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.LibvirtStandbyMonitor;
import org.understudy.standby.StandbySettings;
import org.understudy.tier.CommittedImage;

/**
 * A guest that began to run in a promotion whose stream broke, and waits for pages: made whole from
 * where it is, without going back to the committed epoch.
 */
final class InterruptedGuest implements AutoCloseable {
  private static final long MONITOR_MS = 10_000;
  private static final int ATTEMPTS = 3;

  private final ThisHost host;
  private final GuestOrder order;
  private final LibvirtDomain domain;
  private final LibvirtStandbyMonitor monitor;
  private final KeptLine line;

  private InterruptedGuest(ThisHost host, GuestOrder order, LibvirtDomain domain, KeptLine line) {
    this.host = host;
    this.order = order;
    this.domain = domain;
    this.line = line;
    monitor = new LibvirtStandbyMonitor(domain, MONITOR_MS);
  }

  /**
   * That of an earlier daemon.
   *
   * @throws IOException there is none: no QEMU, or none that was left with a line
   */
  static InterruptedGuest ofEarlierDaemon(ThisHost host, GuestOrder order) throws IOException {
    LibvirtDomain left = host.libvirt().domainOrNull(order.primary().uuid());
    if (left == null || !left.state().run().active()) {
      throw new IOException("its QEMU is gone");
    }
    return new InterruptedGuest(host, order, left, KeptLine.takeOver(host, left.uuid()));
  }

  /**
   * Delivers the pages that are missing.
   *
   * @param frozen the very epoch that was promoted
   * @throws IOException QEMU takes no new stream: the guest had not run, or is lost
   */
  PromotionReport recover(CommittedImage frozen, int[] urgentFirst) throws IOException {
    return recover(host, order, line, monitor, frozen, urgentFirst);
  }

  /** The same for a guest whose stream broke in this daemon's hands. */
  static PromotionReport recover(
      ThisHost host,
      GuestOrder order,
      KeptLine line,
      LibvirtStandbyMonitor monitor,
      CommittedImage frozen,
      int[] urgentFirst)
      throws IOException {
    Path socket =
        host.config()
            .host()
            .runDir()
            .resolve("r-" + order.primary().uuid().toString().substring(0, 13));
    PromotionReport report = null;
    try {
      for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        report =
            Recovery.recover(
                line.line(),
                socket,
                monitor,
                frozen,
                urgentFirst,
                PromotionSettings.defaults(),
                StandbySettings.defaults());
        if (!(report.outcome() instanceof PromotionReport.Outcome.AwaitsRecovery)) {
          break;
        }
      }
      return report;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while the guest's pages were delivered", e);
    }
  }

  LibvirtDomain domain() {
    return domain;
  }

  /** It has all its pages: from its next start on it is a domain like any other. */
  void makeOrdinary() throws IOException {
    PausedGuest.makeOrdinary(host, order, domain, line);
  }

  /** Lets go of it, whatever became of it. */
  @Override
  public void close() {
    monitor.close();
    line.close();
  }
}
