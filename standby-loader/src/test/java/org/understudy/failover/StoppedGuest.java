package org.understudy.failover;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;
import org.understudy.capture.GuestMonitor;
import org.understudy.capture.RamMap;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.linux.ProcessMemory;
import org.understudy.standby.PagemapPresence;
import org.understudy.testbed.QemuGuest;
import org.understudy.tier.CommittedImage;

/**
 * A guest that was stopped, as a committed epoch: its pages are read from its own process whenever
 * they are wanted, which is an image nobody had to copy.
 */
final class StoppedGuest implements CommittedImage {
  private static final int WINDOW_PAGES = 256;

  final GuestMapping mapping;
  final String registers;
  final PageSet nonZero;
  private final ProcessMemory memory;
  private final PageSet fast;
  private final ByteBuffer page = ByteBuffer.allocateDirect(Pages.SIZE);
  private final long[] address = new long[1];
  private final byte[] deviceState;

  /** Stops {@code guest} and saves its devices; it stays stopped. */
  StoppedGuest(QemuGuest guest) throws IOException {
    GuestMonitor monitor = new QmpStandby(guest.qmp()).survey();
    guest.qmp().execute("stop");
    mapping = RamMap.survey(monitor, guest.pid());
    registers = guest.qmp().hmp("info registers -a");
    Path file = guest.folder().resolve("devices");
    monitor.saveDevicesState(file.toString());
    deviceState = Files.readAllBytes(file);
    Files.delete(file);
    memory = new ProcessMemory(guest.pid());
    fast = new PageSet(mapping.layout().pages());
    nonZero = new PageSet(mapping.layout().pages());
    findNonZero();
  }

  private void findNonZero() throws IOException {
    PageSet present = new PageSet(mapping.layout().pages());
    PagemapPresence presence = new PagemapPresence(mapping);
    for (int block = 0; block < mapping.layout().blocks().size(); block++) {
      presence.present(block, present);
    }
    ByteBuffer window = ByteBuffer.allocateDirect(WINDOW_PAGES * Pages.SIZE);
    long[] addresses = new long[WINDOW_PAGES];
    int[] pages = new int[WINDOW_PAGES];
    int next = present.next(0);
    while (next >= 0) {
      int count = 0;
      while (next >= 0 && count < WINDOW_PAGES) {
        pages[count] = next;
        addresses[count++] = mapping.addressOf(next);
        next = present.next(next + 1);
      }
      window.clear();
      memory.readPages(addresses, count, window);
      for (int i = 0; i < count; i++) {
        if (!Pages.isZero(window, i * Pages.SIZE)) {
          nonZero.add(pages[i]);
        }
      }
    }
  }

  /** About {@code fraction} of the pages that are not zero. */
  PageSet choose(double fraction, SplittableRandom random) {
    PageSet chosen = new PageSet(nonZero.capacity());
    for (int page = nonZero.next(0); page >= 0; page = nonZero.next(page + 1)) {
      if (random.nextDouble() < fraction) {
        chosen.add(page);
      }
    }
    return chosen;
  }

  @Override
  public GuestLayout layout() {
    return mapping.layout();
  }

  @Override
  public long epoch() {
    return 7;
  }

  @Override
  public boolean isZero(int page) {
    return !nonZero.contains(page);
  }

  @Override
  public synchronized void read(int number, ByteBuffer into) throws IOException {
    address[0] = mapping.addressOf(number);
    page.clear();
    memory.readPages(address, 1, page);
    into.put(page.flip());
  }

  @Override
  public PageSet fastPages() {
    return fast;
  }

  @Override
  public ByteBuffer deviceState() {
    return ByteBuffer.wrap(deviceState.clone());
  }

  /** Number of pages whose content in {@code other} is not this guest's, and the first of them. */
  String difference(GuestMapping other) throws IOException {
    ProcessMemory theirs = new ProcessMemory(other.pid());
    ByteBuffer one = ByteBuffer.allocateDirect(WINDOW_PAGES * Pages.SIZE);
    ByteBuffer two = ByteBuffer.allocateDirect(WINDOW_PAGES * Pages.SIZE);
    int differing = 0;
    String first = "";
    for (int block = 0; block < layout().blocks().size(); block++) {
      int blockFirst = layout().firstPage(block);
      int end = layout().firstPage(block + 1);
      for (int from = blockFirst; from < end; from += WINDOW_PAGES) {
        int count = Math.min(WINDOW_PAGES, end - from);
        memory.read(mapping.addressOf(from), one.clear().limit(count * Pages.SIZE));
        theirs.read(other.addressOf(from), two.clear().limit(count * Pages.SIZE));
        one.flip();
        two.flip();
        for (int at = one.mismatch(two); at >= 0; ) {
          int page = at / Pages.SIZE;
          if (differing++ == 0) {
            first = layout().blocks().get(block).name() + " page " + (from + page - blockFirst);
          }
          if (page + 1 == count) {
            break;
          }
          int skip = (page + 1) * Pages.SIZE;
          int more =
              one.slice(skip, one.limit() - skip).mismatch(two.slice(skip, two.limit() - skip));
          at = more < 0 ? -1 : skip + more;
        }
      }
    }
    return differing == 0 ? "none" : differing + " pages, first " + first;
  }
}
