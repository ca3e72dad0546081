package org.understudy.capture;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.linux.ProcessMemory;

/**
 * Where pages wait between the guest's memory and the sink: direct memory allocated and touched
 * once, so that a copy inside the pause neither allocates nor faults.
 */
final class StagingSlab {
  private final GuestMapping mapping;
  private final ProcessMemory memory;
  private final ByteBuffer content;
  private final ByteBuffer onePage; // the same memory, its position on the page given to the sink
  private final int[] pages;
  private final long[] addresses;
  private int count;
  private long zeroPages;

  StagingSlab(GuestMapping mapping, int bytes) {
    this.mapping = mapping;
    memory = new ProcessMemory(mapping.pid());
    content = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
    onePage = content.duplicate().order(ByteOrder.nativeOrder());
    pages = new int[bytes >> Pages.SHIFT];
    addresses = new long[pages.length];
  }

  /** Most pages held at once. */
  int capacity() {
    return pages.length;
  }

  /** Pages held now. */
  int count() {
    return count;
  }

  /** Zero pages seen by {@link #feed} so far. */
  long zeroPages() {
    return zeroPages;
  }

  /**
   * Replaces the content by pages of {@code wanted}, from page number {@code from} on, as many as
   * fit.
   *
   * @return the first page number not considered, or -1 when none is left
   */
  int fill(PageSet wanted, int from) throws IOException {
    count = 0;
    int page = gather(wanted, from);
    content.clear();
    memory.readPages(addresses, count, content);
    return page;
  }

  private int gather(PageSet wanted, int from) {
    GuestLayout layout = mapping.layout();
    int page = wanted.next(from);
    while (page >= 0) {
      int block = layout.blockOf(page);
      int first = layout.firstPage(block);
      int end = first + layout.blocks().get(block).pages();
      long address = mapping.hostAddress()[block];
      while (page >= 0 && page < end) {
        if (count == pages.length) {
          return page;
        }
        pages[count] = page;
        addresses[count++] = address + ((long) (page - first) << Pages.SHIFT);
        page = wanted.next(page + 1);
      }
    }
    return -1;
  }

  /** Gives all pages held to the sink, zero pages as such. */
  void feed(EpochSink sink) throws IOException {
    for (int i = 0; i < count; i++) {
      int at = i << Pages.SHIFT;
      if (Pages.isZero(content, at)) {
        zeroPages++;
        sink.zeroPage(pages[i]);
      } else {
        onePage.limit(at + Pages.SIZE).position(at);
        sink.page(pages[i], onePage);
      }
    }
  }
}
