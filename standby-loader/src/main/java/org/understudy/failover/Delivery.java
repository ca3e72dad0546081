package org.understudy.failover;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import org.understudy.fault.FaultPoint;
import org.understudy.guest.PageSet;
import org.understudy.qemustream.RamPart;
import org.understudy.qemustream.Savevm;
import org.understudy.standby.GuestStream;
import org.understudy.standby.Inbox;
import org.understudy.standby.StandbyMonitor;
import org.understudy.tier.CommittedImage;

/**
 * Brings a guest the pages it lacks: those it asks for before anything else, then the others, each
 * once. Used by one thread.
 */
final class Delivery {
  /** Wanted pages sent in one part: what several vCPUs want at once, and no more. */
  private static final int WANTED_PAGES = 8;

  /** Pages pushed until {@link FaultPoint#FIRST_PAGES_SENT}. */
  private static final int FIRST_PAGES = 1000;

  private static final String UNKNOWN = "not known";

  private final GuestStream stream;
  private final CommittedImage image;
  private final PushOrder order;
  private final PageSet sent;
  private final Inbox inbox;
  private final RamPart part;
  private final DemandLatency latency = new DemandLatency();
  private final long[] arrivedNs = new long[WANTED_PAGES];
  private int wanted;
  private int wantedZero;
  private int pushed;
  private int pushedZero;

  /**
   * To a guest that has the pages {@code there}, which becomes ours.
   *
   * @param urgentFirst pages to send first of those that nobody asks for
   */
  Delivery(GuestStream stream, CommittedImage image, int[] urgentFirst, PageSet there) {
    this.stream = stream;
    this.image = image;
    order = new PushOrder(image, urgentFirst);
    sent = there;
    inbox = stream.inbox();
    part = new RamPart(image.layout());
  }

  /** Sends those of the {@code pages} that are missing, at once. */
  void sendBeforeLoading(PageSet pages) throws IOException {
    part.clear();
    for (int page = pages.next(0); page >= 0; page = pages.next(page + 1)) {
      if (!sent.contains(page)) {
        pushOne(page);
        if (!part.hasRoom()) {
          stream.write(part.finish());
          part.clear();
        }
      }
    }
    if (part.count() > 0) {
      stream.write(part.finish());
    }
  }

  /** Sends all pages that are missing. */
  void deliver() throws IOException {
    int page = order.next(sent);
    boolean first = true;
    while (page >= 0) {
      checkAlive();
      if (inbox.isWanted()) {
        sendWanted();
        if (sent.contains(page)) {
          page = order.next(sent);
        }
      } else {
        page = push(page);
        if (first && pushed > FIRST_PAGES) {
          FaultPoint.FIRST_PAGES_SENT.reached();
          first = false;
        }
      }
    }
    FaultPoint.LAST_PAGES_SENT.reached();
  }

  /** Ends the stream and returns when QEMU is done with it. */
  void finish(StandbyMonitor monitor, long endDeadlineMs) throws IOException, InterruptedException {
    stream.write(ByteBuffer.wrap(new byte[] {Savevm.QEMU_VM_EOF}));
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(endDeadlineMs);
    while (!inbox.isShut()) {
      // Pages that were wanted while they were on their way need no second answer.
      while (inbox.takeWanted() >= 0) {
        checkAlive();
      }
      checkAlive();
      if (System.nanoTime() - deadlineNs > 0) {
        throw new IOException("QEMU is not done " + endDeadlineMs + " ms after the last page");
      }
      inbox.await(TimeUnit.MILLISECONDS.toNanos(100));
    }
    String status = statusOf(monitor);
    while (!status.equals("completed")) {
      if (System.nanoTime() - deadlineNs > 0) {
        if (status.equals(UNKNOWN)) {
          return; // QEMU itself has said that it is done
        }
        throw new IOException(
            "QEMU's migration is " + status + " after the last page, expected completed");
      }
      inbox.await(TimeUnit.MILLISECONDS.toNanos(status.equals(UNKNOWN) ? 100 : 1));
      status = statusOf(monitor);
    }
  }

  /**
   * A monitor that does not answer, as libvirt's when libvirtd is away, is no loss of the guest.
   */
  private static String statusOf(StandbyMonitor monitor) {
    try {
      return monitor.migrationStatus();
    } catch (IOException away) {
      return UNKNOWN;
    }
  }

  private void sendWanted() throws IOException {
    sendWanted(null);
  }

  /**
   * Sends what is wanted, oldest first; pages already sent are on their way.
   *
   * @param noted is given the pages sent; may be null
   */
  void sendWanted(PageSet noted) throws IOException {
    part.clear();
    for (int page = inbox.takeWanted(); page >= 0; page = inbox.takeWanted()) {
      if (!sent.contains(page)) {
        arrivedNs[part.count()] = inbox.takenArrivedNs();
        add(page);
        if (noted != null) {
          noted.add(page);
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
    stream.write(part.finish());
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
      pushOne(next);
      next = order.next(sent);
    }
    stream.write(part.finish());
    return next;
  }

  private void pushOne(int page) throws IOException {
    add(page);
    if (image.isZero(page)) {
      pushedZero++;
    } else {
      pushed++;
    }
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

  /** Fails if nothing will come from QEMU any more. */
  void checkAlive() throws IOException {
    String ended = inbox.ended();
    if (ended != null) {
      throw new IOException(ended);
    }
  }

  /** Numbers of pages, beside those that the guest had. */
  PromotionReport.Pages pages(int resident, int stale, int strays, int vanished) {
    return new PromotionReport.Pages(
        resident, stale, strays, vanished, wanted, wantedZero, pushed, pushedZero);
  }

  PromotionReport.Demand demand() {
    return new PromotionReport.Demand(
        latency.percentileMicros(50), latency.percentileMicros(99), latency.longestMicros());
  }
}
