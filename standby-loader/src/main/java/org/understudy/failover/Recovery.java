package org.understudy.failover;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.understudy.guest.PageSet;
import org.understudy.standby.RecoveryMonitor;
import org.understudy.standby.ResumedStream;
import org.understudy.standby.StandbyMonitor;
import org.understudy.standby.StandbySettings;
import org.understudy.tier.CommittedImage;

/**
 * Finishes a promotion whose stream broke after the guest had begun to run: by the same process or
 * by another one, of the same committed epoch. The guest waits meanwhile at the first page that is
 * missing, and goes on where it was: nothing that it did is rolled back.
 */
public final class Recovery {
  /** QEMU notices a broken stream within a millisecond or so; a loaded machine takes longer. */
  private static final long PAUSED_MS = 2_000;

  private static final long AGAIN_MS = 20;

  private final RecoveryMonitor outOfBand;
  private final StandbyMonitor monitor;
  private final CommittedImage image;
  private final long beganNs = System.nanoTime();
  private GuestStart start;
  private Delivery delivery;
  private int received;
  private long resumedNs;
  private long endNs;

  private Recovery(RecoveryMonitor outOfBand, StandbyMonitor monitor, CommittedImage image) {
    this.outOfBand = outOfBand;
    this.monitor = monitor;
    this.image = image;
  }

  /**
   * Recovers, and returns when the guest has all its pages or the stream broke once more.
   *
   * @param socket a path that QEMU can create
   * @param monitor answers only when the guest has the pages that QEMU's main loop waits for
   * @param image the very epoch that was promoted
   * @param urgentFirst as of {@link Promotion#promote}
   * @return {@code Completed}, {@code NotStarted}, or {@code AwaitsRecovery}; times count from the
   *     call, {@code loadedMs} is when QEMU took up the stream, resident pages are those it had
   * @throws IOException QEMU does not take a new stream: it is gone, or was not waiting for one
   */
  public static PromotionReport recover(
      RecoveryMonitor outOfBand,
      Path socket,
      StandbyMonitor monitor,
      CommittedImage image,
      int[] urgentFirst,
      PromotionSettings settings,
      StandbySettings waits)
      throws IOException, InterruptedException {
    Recovery recovery = new Recovery(outOfBand, monitor, image);
    recovery.open(socket);
    try (ResumedStream stream = ResumedStream.connect(socket, image.layout(), waits)) {
      Files.deleteIfExists(socket);
      recovery.resumedNs = System.nanoTime();
      recovery.received = stream.received().count();
      recovery.delivery = new Delivery(stream, image, urgentFirst, stream.received());
      return recovery.deliver(stream, settings);
    }
  }

  private void open(Path socket) throws IOException, InterruptedException {
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(PAUSED_MS);
    while (true) {
      Files.deleteIfExists(socket);
      try {
        outOfBand.migrateRecover(socket);
        return;
      } catch (IOException notYet) {
        if (System.nanoTime() - deadlineNs > 0) {
          throw notYet;
        }
        TimeUnit.MILLISECONDS.sleep(AGAIN_MS);
      }
    }
  }

  private PromotionReport deliver(ResumedStream stream, PromotionSettings settings)
      throws InterruptedException {
    if (settings.start()) {
      // The order to run may have been lost with the one who gave it; given twice it does no harm.
      start = new GuestStart(monitor, stream.inbox(), settings.startDeadlineMs());
      start.start();
    }
    try {
      delivery.deliver();
      delivery.finish(monitor, settings.endDeadlineMs());
    } catch (IOException | RuntimeException broken) {
      if (start != null) {
        start.cancel();
      }
      return report(
          new PromotionReport.Outcome.AwaitsRecovery(String.valueOf(broken.getMessage())));
    }
    endNs = System.nanoTime();
    if (start != null) {
      start.join();
      if (start.failure() != null) {
        return report(new PromotionReport.Outcome.NotStarted(start.failure()));
      }
    }
    return report(new PromotionReport.Outcome.Completed());
  }

  private PromotionReport report(PromotionReport.Outcome outcome) {
    return new PromotionReport(
        image.epoch(),
        outcome,
        -1,
        ms(resumedNs),
        ms(start == null ? 0 : start.runningNs()),
        ms(endNs),
        delivery.pages(received, 0, 0, 0),
        new PageSet(image.layout().pages()),
        delivery.demand());
  }

  private double ms(long ns) {
    return ns == 0 ? -1 : (ns - beganNs) / 1e6;
  }
}
