package org.understudy.standby;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.linux.ErrnoException;
import org.understudy.linux.Pagemap;

/**
 * Presence by {@code /proc/PID/pagemap}: with the PAGEMAP_SCAN ioctl where the kernel has it (Linux
 * 6.7), which takes about 1 ms a GiB, else by reading the entries (Linux,
 * Documentation/admin-guide/mm/pagemap.rst: bit 63 present, bit 62 swapped), about 10 ms a GiB.
 * Needs the right to ptrace the process. One thread at a time.
 */
public final class PagemapPresence implements PresenceProbe {
  private static final long PRESENT_OR_SWAPPED = 3L << 62;
  private static final int ENTRY_BYTES = 8;

  private final GuestMapping mapping;
  private final boolean byScan;
  private ByteBuffer window;

  /** Presence in the process of {@code mapping}, the standby QEMU's own addresses. */
  public PagemapPresence(GuestMapping mapping) {
    this(mapping, true);
  }

  /**
   * Presence in the process of {@code mapping}.
   *
   * @param byScan false to read the entries even if the kernel can scan
   */
  PagemapPresence(GuestMapping mapping, boolean byScan) {
    this.mapping = mapping;
    this.byScan = byScan && kernelScans(mapping.pid());
  }

  private static boolean kernelScans(int pid) {
    try (Pagemap pagemap = new Pagemap(pid)) {
      pagemap.probeScan();
      return true;
    } catch (IOException olderOrGone) {
      return false;
    }
  }

  @Override
  public void present(int block, PageSet into) throws IOException {
    try (Pagemap pagemap = new Pagemap(mapping.pid())) {
      if (byScan) {
        scan(pagemap, block, into);
      } else {
        read(pagemap, block, into);
      }
    } catch (ErrnoException failure) {
      throw new IOException(
          "pages present of RAM block "
              + mapping.layout().blocks().get(block).name()
              + ": "
              + failure.getMessage(),
          failure);
    }
  }

  private void scan(Pagemap pagemap, int block, PageSet into) throws IOException {
    int first = mapping.layout().firstPage(block);
    long start = mapping.hostAddress()[block];
    pagemap.find(
        start,
        start + mapping.layout().blocks().get(block).bytes(),
        Pagemap.PRESENT | Pagemap.SWAPPED,
        (from, to, categories) ->
            into.addRange(
                first + (int) ((from - start) >> Pages.SHIFT),
                first + (int) ((to - start) >> Pages.SHIFT)));
  }

  private void read(Pagemap pagemap, int block, PageSet into) throws IOException {
    if (window == null) {
      window = ByteBuffer.allocateDirect(256 << 10).order(ByteOrder.nativeOrder());
    }
    int first = mapping.layout().firstPage(block);
    int pages = mapping.layout().blocks().get(block).pages();
    long entry = mapping.hostAddress()[block] >> Pages.SHIFT;
    for (int done = 0; done < pages; ) {
      int count = Math.min(window.capacity() / ENTRY_BYTES, pages - done);
      pagemap.read(entry + done, window.clear().limit(count * ENTRY_BYTES));
      for (int i = 0; i < count; i++) {
        if ((window.getLong(i * ENTRY_BYTES) & PRESENT_OR_SWAPPED) != 0) {
          into.add(first + done + i);
        }
      }
      done += count;
    }
  }
}
