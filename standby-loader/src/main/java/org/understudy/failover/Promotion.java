package org.understudy.failover;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import org.understudy.guest.PageSet;
import org.understudy.qemustream.RamPart;
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
  /** Wanted pages sent in one part: what several vCPUs want at once, and no more. */
  private static final int WANTED_PAGES = 8;

  private static final int COMMAND_BYTES = 64 << 10;

  /** Longer than the order to start takes through libvirt where nothing holds it up. */
  private static final long ORDER_MS = 20;

  private final Possession standby;
  private final CommittedImage image;
  private final PushOrder order;
  private final PromotionSettings settings;
  private final Inbox inbox;
  private final RamPart part;
  private final DemandLatency latency = new DemandLatency();
  private final PageSet wantedLoading;
  private final PageSet beforeLoading;
  private final long[] arrivedNs = new long[WANTED_PAGES];
  private final long beganNs = System.nanoTime();
  private PresenceCheck check;
  private PageSet sent;
  private GuestStart start;
  private long preparedNs;
  private long loadedNs;
  private long endNs;
  private int wanted;
  private int wantedZero;
  private int pushed;
  private int pushedZero;

  private Promotion(
      Possession standby,
      CommittedImage image,
      PageSet beforeLoading,
      int[] urgentFirst,
      PromotionSettings settings) {
    this.beforeLoading = beforeLoading;
    this.standby = standby;
    this.image = image;
    this.settings = settings;
    order = new PushOrder(image, urgentFirst);
    inbox = standby.inbox();
    part = new RamPart(image.layout());
    wantedLoading = new PageSet(image.layout().pages());
    check = new PresenceCheck(new PageSet(image.layout().pages()), 0, 0, 0);
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
      deliver();
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
    sent = standby.placed();
    int resident = sent.count();
    check = new PresenceCheck(copy(sent), check.stale(), check.strays(), check.vanished());
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
    sendBeforeLoading();
    preparedNs = System.nanoTime();
    standby.write(head.flip(), sections, tail.flip());
    // Loading devices reads guest memory (queues, the first MiB): what is missing is asked for.
    long deadlineNs = preparedNs + TimeUnit.MILLISECONDS.toNanos(settings.loadDeadlineMs());
    while (inbox.lastPong() != ping) {
      checkAlive();
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
        sendWanted();
      } else {
        inbox.await(TimeUnit.MILLISECONDS.toNanos(100));
      }
    }
    loadedNs = System.nanoTime();
    standby.ran();
  }

  private void sendBeforeLoading() throws IOException {
    part.clear();
    for (int page = beforeLoading.next(0); page >= 0; page = beforeLoading.next(page + 1)) {
      if (!sent.contains(page)) {
        add(page);
        if (image.isZero(page)) {
          pushedZero++;
        } else {
          pushed++;
        }
        if (!part.hasRoom()) {
          standby.write(part.finish());
          part.clear();
        }
      }
    }
    if (part.count() > 0) {
      standby.write(part.finish());
      part.clear();
    }
  }

  private void deliver() throws IOException {
    int page = order.next(sent);
    while (page >= 0) {
      checkAlive();
      if (inbox.isWanted()) {
        sendWanted();
        if (sent.contains(page)) {
          page = order.next(sent);
        }
      } else {
        page = push(page);
      }
    }
  }

  private void finish() throws IOException, InterruptedException {
    standby.write(ByteBuffer.wrap(new byte[] {Savevm.QEMU_VM_EOF}));
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(settings.endDeadlineMs());
    while (!inbox.isShut()) {
      // Pages that were wanted while they were on their way need no second answer.
      while (inbox.takeWanted() >= 0) {
        checkAlive();
      }
      checkAlive();
      if (System.nanoTime() - deadlineNs > 0) {
        throw new IOException(
            "QEMU is not done " + settings.endDeadlineMs() + " ms after the last page");
      }
      inbox.await(TimeUnit.MILLISECONDS.toNanos(100));
    }
    String status = standby.monitor().migrationStatus();
    while (!status.equals("completed")) {
      if (System.nanoTime() - deadlineNs > 0) {
        throw new IOException(
            "QEMU's migration is " + status + " after the last page, expected completed");
      }
      inbox.await(TimeUnit.MILLISECONDS.toNanos(1));
      status = standby.monitor().migrationStatus();
    }
    endNs = System.nanoTime();
    standby.finished();
    if (start != null) {
      start.join();
    }
  }

  /** Sends what is wanted, oldest first; pages already sent are on their way. */
  private void sendWanted() throws IOException {
    part.clear();
    for (int page = inbox.takeWanted(); page >= 0; page = inbox.takeWanted()) {
      if (!sent.contains(page)) {
        arrivedNs[part.count()] = inbox.takenArrivedNs();
        add(page);
        if (loadedNs == 0) {
          wantedLoading.add(page);
        }
        if (image.isZero(page)) {
          wantedZero++;
        } else {
          wanted++;
        }
        if (part.count() == WANTED_PAGES) {
          break;
        }
      }
    }
    if (part.count() == 0) {
      return;
    }
    standby.write(part.finish());
    long now = System.nanoTime();
    for (int i = 0; i < part.count(); i++) {
      latency.add(now - arrivedNs[i]);
    }
  }

  /** Sends pages from {@code page} on until the part is full or a page is wanted. */
  private int push(int page) throws IOException {
    part.clear();
    int next = page;
    while (next >= 0 && part.hasRoom() && (part.count() == 0 || !inbox.isWanted())) {
      add(next);
      if (image.isZero(next)) {
        pushedZero++;
      } else {
        pushed++;
      }
      next = order.next(sent);
    }
    standby.write(part.finish());
    return next;
  }

  private void add(int page) throws IOException {
    if (image.isZero(page)) {
      part.zero(page);
    } else {
      ByteBuffer room = part.reserve(page);
      try {
        image.read(page, room);
      } catch (IOException failure) {
        throw new IOException(
            "page " + page + " of epoch " + image.epoch() + ": " + failure.getMessage(), failure);
      }
      part.confirm();
    }
    sent.add(page);
  }

  private void checkAlive() throws IOException {
    String ended = inbox.ended();
    if (ended != null) {
      throw new IOException(ended);
    }
  }

  /**
   * The stream is given up. A recovery would begin here: the image stays, QEMU knows by its
   * received bitmap which pages it has.
   */
  private PromotionReport lost(String reason) {
    boolean ran = loadedNs != 0;
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
        new PromotionReport.Pages(
            check.resident().count(),
            check.stale(),
            check.strays(),
            check.vanished(),
            wanted,
            wantedZero,
            pushed,
            pushedZero),
        wantedLoading,
        new PromotionReport.Demand(
            latency.percentileMicros(50), latency.percentileMicros(99), latency.longestMicros()));
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
