package org.understudy.failover;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import org.understudy.fault.FaultPoint;
import org.understudy.guest.PageSet;
import org.understudy.qemustream.Savevm;
import org.understudy.standby.Inbox;
import org.understudy.standby.Possession;
import org.understudy.standby.PresenceCheck;
import org.understudy.standby.StandbyGuest;
import org.understudy.tier.CommittedImage;

/**
 * Makes a paused standby the guest of a committed epoch. One command loads the devices and lets the
 * guest run; pages that it touches and that are not there yet are asked for by QEMU and sent before
 * anything else; the others follow. Each page is sent once. Only after the primary is fenced.
 */
public final class Promotion {
  private static final int COMMAND_BYTES = 64 << 10;

  /** Longer than the order to start takes through libvirt where nothing holds it up. */
  private static final long ORDER_MS = 20;

  private final Possession standby;
  private final CommittedImage image;
  private final int[] urgentFirst;
  private final PromotionSettings settings;
  private final Inbox inbox;
  private final PageSet wantedLoading;
  private final PageSet beforeLoading;
  private final long beganNs = System.nanoTime();
  private PresenceCheck check;
  private Delivery delivery;
  private GuestStart start;
  private long preparedNs;
  private long loadedNs;
  private long endNs;

  private Promotion(
      Possession standby,
      CommittedImage image,
      PageSet beforeLoading,
      int[] urgentFirst,
      PromotionSettings settings) {
    this.beforeLoading = beforeLoading;
    this.standby = standby;
    this.image = image;
    this.urgentFirst = urgentFirst;
    this.settings = settings;
    inbox = standby.inbox();
    wantedLoading = new PageSet(image.layout().pages());
    check = new PresenceCheck(new PageSet(image.layout().pages()), 0, 0, 0);
    delivery = new Delivery(standby, image, urgentFirst, check.resident());
  }

  /**
   * Promotes, and returns when the standby needs nothing more from us or is lost. The calling
   * thread waits; the work is done in the thread {@code standby-load}.
   *
   * @param image frozen until this returns; kept longer if the outcome is not {@code Completed}
   * @param urgentFirst pages to send first of those that nobody asks for; the others follow in
   *     address order
   * @throws IOException the standby was not in a state to be promoted; nothing was done
   */
  public static PromotionReport promote(
      StandbyGuest standby, CommittedImage image, int[] urgentFirst, PromotionSettings settings)
      throws IOException {
    return promote(standby, image, new PageSet(image.layout().pages()), urgentFirst, settings);
  }

  /**
   * The same.
   *
   * @param beforeLoading pages that loading the devices touches: those that are not there, zero
   *     pages above all, are sent before, all at once
   */
  public static PromotionReport promote(
      StandbyGuest standby,
      CommittedImage image,
      PageSet beforeLoading,
      int[] urgentFirst,
      PromotionSettings settings)
      throws IOException {
    if (image.epoch() == 0) {
      throw new IOException("no epoch has been committed, so there is nothing to promote");
    }
    if (!image.layout().equals(standby.layout())) {
      throw new IOException(
          "the committed image has " + image.layout() + ", the standby " + standby.layout());
    }
    return standby.promote(
        image.epoch(),
        possession -> new Promotion(possession, image, beforeLoading, urgentFirst, settings).run());
  }

  private PromotionReport run() {
    try {
      prepareAndLoad();
      delivery.deliver();
      finish();
    } catch (IOException failure) {
      return lost(String.valueOf(failure.getMessage()));
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      return lost("interrupted");
    } catch (RuntimeException defect) {
      return lost(defect.toString());
    }
    String notStarted = start == null ? null : start.failure();
    return report(
        notStarted == null
            ? new PromotionReport.Outcome.Completed()
            : new PromotionReport.Outcome.NotStarted(notStarted));
  }

  private void prepareAndLoad() throws IOException, InterruptedException {
    ByteBuffer sections = Savevm.deviceSections(image.deviceState());
    if (settings.start()) {
      start = new GuestStart(standby.monitor(), inbox, settings.startDeadlineMs());
      start.start();
    }
    standby.settle();
    ByteBuffer discards = ByteBuffer.allocateDirect(COMMAND_BYTES);
    check = PresenceCheck.clean(standby, image.fastPages(), discards);
    int resident = standby.placed().count();
    check =
        new PresenceCheck(copy(standby.placed()), check.stale(), check.strays(), check.vanished());
    delivery = new Delivery(standby, image, urgentFirst, standby.placed());
    int ping = standby.nextPing();
    ByteBuffer head = ByteBuffer.allocateDirect(Savevm.PACKAGE_FRAME_BYTES);
    Savevm.packageHead(head, sections.remaining());
    ByteBuffer tail = ByteBuffer.allocateDirect(Savevm.PACKAGE_FRAME_BYTES);
    Savevm.packageTail(tail, ping);
    if (start != null) {
      start.awaitOrdered(ORDER_MS);
    }
    standby.checkCapabilities();
    standby.write(discards.flip());
    delivery.sendBeforeLoading(beforeLoading);
    FaultPoint.PACKAGE_READY.reached();
    preparedNs = System.nanoTime();
    standby.write(head.flip(), sections, tail.flip());
    FaultPoint.PACKAGE_WRITTEN.reached();
    // Loading devices reads guest memory (queues, the first MiB): what is missing is asked for.
    long deadlineNs = preparedNs + TimeUnit.MILLISECONDS.toNanos(settings.loadDeadlineMs());
    while (inbox.lastPong() != ping) {
      delivery.checkAlive();
      if (System.nanoTime() - deadlineNs > 0) {
        throw new IOException(
            "QEMU has not loaded "
                + sections.limit()
                + " bytes of device state within "
                + settings.loadDeadlineMs()
                + " ms ("
                + resident
                + " pages resident)");
      }
      if (inbox.isWanted()) {
        delivery.sendWanted(wantedLoading);
      } else {
        inbox.await(TimeUnit.MILLISECONDS.toNanos(100));
      }
    }
    loadedNs = System.nanoTime();
    standby.ran();
    FaultPoint.DEVICES_LOADED.reached();
  }

  private void finish() throws IOException, InterruptedException {
    delivery.finish(standby.monitor(), settings.endDeadlineMs());
    endNs = System.nanoTime();
    standby.finished();
    if (start != null) {
      start.join();
    }
  }

  /**
   * The stream is given up. {@link Recovery} begins here: the image stays, QEMU knows by its
   * received bitmap which pages it has.
   */
  private PromotionReport lost(String reason) {
    boolean ran = loadedNs != 0;
    if (start != null) {
      start.cancel();
    }
    try {
      standby.lost(reason);
    } catch (IOException settled) {
      return report(new PromotionReport.Outcome.Repeatable(reason + "; " + settled.getMessage()));
    }
    return report(
        ran
            ? new PromotionReport.Outcome.AwaitsRecovery(reason)
            : new PromotionReport.Outcome.Repeatable(reason));
  }

  private PromotionReport report(PromotionReport.Outcome outcome) {
    return new PromotionReport(
        image.epoch(),
        outcome,
        ms(preparedNs),
        ms(loadedNs),
        ms(start == null ? 0 : start.runningNs()),
        ms(endNs),
        delivery.pages(check.resident().count(), check.stale(), check.strays(), check.vanished()),
        wantedLoading,
        delivery.demand());
  }

  private double ms(long ns) {
    return ns == 0 ? -1 : (ns - beganNs) / 1e6;
  }

  private static PageSet copy(PageSet set) {
    PageSet copy = new PageSet(set.capacity());
    copy.set(set);
    return copy;
  }
}
