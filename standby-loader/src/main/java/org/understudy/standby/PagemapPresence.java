package org.understudy.standby;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;

/**
 * Presence by {@code /proc/PID/pagemap} (Linux, Documentation/admin-guide/mm/pagemap.rst): 8 bytes
 * a page, bit 63 present, bit 62 swapped. Needs the right to ptrace the process. One thread at a
 * time.
 */
public final class PagemapPresence implements PresenceProbe {
  private static final long PRESENT_OR_SWAPPED = 3L << 62;
  private static final int ENTRY_BYTES = 8;

  private final GuestMapping mapping;
  private final ByteBuffer window =
      ByteBuffer.allocateDirect(256 << 10).order(ByteOrder.nativeOrder());
  private final LongBuffer entries = window.asLongBuffer();

  /** Presence in the process of {@code mapping}, the standby QEMU's own addresses. */
  public PagemapPresence(GuestMapping mapping) {
    this.mapping = mapping;
  }

  @Override
  public void present(int block, PageSet into) throws IOException {
    int first = mapping.layout().firstPage(block);
    int pages = mapping.layout().blocks().get(block).pages();
    long entry = mapping.hostAddress()[block] >> Pages.SHIFT;
    Path file = Path.of("/proc/" + mapping.pid() + "/pagemap");
    try (FileChannel pagemap = FileChannel.open(file, StandardOpenOption.READ)) {
      int done = 0;
      while (done < pages) {
        window.clear().limit(Math.min(window.capacity(), (pages - done) * ENTRY_BYTES));
        int bytes = pagemap.read(window, (entry + done) * ENTRY_BYTES);
        if (bytes < ENTRY_BYTES) {
          throw new IOException(
              file + " ended at page " + done + " of RAM block " + block + " of " + pages);
        }
        int count = bytes / ENTRY_BYTES;
        for (int i = 0; i < count; i++) {
          if ((entries.get(i) & PRESENT_OR_SWAPPED) != 0) {
            into.add(first + done + i);
          }
        }
        done += count;
      }
    }
  }
}
