package org.understudy.dirtylog;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.linux.Errno;
import org.understudy.linux.ErrnoException;
import org.understudy.linux.Pagemap;
import org.understudy.linux.PidFd;
import org.understudy.linux.ProcessMaps;
import org.understudy.linux.Userfaultfd;

/**
 * Linux's own record of writes: the blocks are under asynchronous write protection by one
 * userfaultfd made inside the target, and PAGEMAP_SCAN reads the pages whose protection was lifted
 * and, to re-arm, protects them again in one atomic step a page.
 *
 * <p>A hole punched into a file or memfd leaves the protection as it was, so for blocks with a file
 * behind them a page that was mapped at the last arming and no longer is counts as written, too.
 * One that was punched and read again between two scans is not seen: it reads as zeros then. A
 * balloon or virtio-mem does this only to pages whose content the guest has declared meaningless.
 */
final class PagemapScanLog implements DirtyLog {
  static final String METHOD = "pagemap-scan";

  private final GuestMapping mapping;
  private final PidFd process;
  private final Pagemap pagemap;
  private final Userfaultfd userfaultfd;
  private final boolean[] hasFile; // by block; false for anonymous memory
  private final PageSet mappedAtArming;
  private final PageSet mappedNow;
  private final PageSet seenUnmapped; // by looks since the last arming: may be mapped again
  private final Injector injector;
  private boolean armed;

  PagemapScanLog(GuestMapping mapping, Injector injector) throws IOException {
    this.mapping = mapping;
    this.injector = injector;
    List<AutoCloseable> opened = new ArrayList<>();
    boolean whole = false;
    try {
      process = new PidFd(mapping.pid());
      opened.add(process);
      pagemap = new Pagemap(mapping.pid());
      opened.add(pagemap);
      hasFile = blocksWithFile(mapping);
      userfaultfd = injector.obtain();
      opened.add(userfaultfd);
      GuestLayout layout = mapping.layout();
      for (int block = 0; block < layout.blocks().size(); block++) {
        register(block);
      }
      mappedAtArming = new PageSet(layout.pages());
      mappedNow = new PageSet(layout.pages());
      seenUnmapped = new PageSet(layout.pages());
      whole = true;
    } finally {
      if (!whole) {
        for (AutoCloseable resource : opened) {
          closeQuietly(resource);
        }
      }
    }
  }

  private void register(int block) throws IOException {
    try {
      userfaultfd.register(
          mapping.hostAddress()[block], mapping.layout().blocks().get(block).bytes());
    } catch (IOException e) {
      throw new IOException(
          "RAM block "
              + mapping.layout().blocks().get(block).name()
              + " cannot be watched: "
              + e.getMessage(),
          e);
    }
  }

  @Override
  public String method() {
    return METHOD;
  }

  /** How long threads of the target were held at the opening, in microseconds: make, close. */
  long[] stopsUs() {
    return new long[] {injector.createStopUs(), injector.closeStopUs()};
  }

  @Override
  public void look(PageSet into) throws IOException {
    if (!armed) {
      into.fill();
    }
    scan(into, false);
    into.addAll(seenUnmapped);
  }

  @Override
  public void rearm(PageSet into) throws IOException {
    if (!armed) {
      into.fill();
    }
    armed = false; // stays so if this fails half-way: then everything counts as written
    scan(into, true);
    into.addAll(seenUnmapped);
    seenUnmapped.clear();
    mappedAtArming.set(mappedNow);
    armed = true;
  }

  private void scan(PageSet into, boolean protect) throws IOException {
    mappedNow.clear();
    try {
      for (int block = 0; block < hasFile.length; block++) {
        scan(block, into, protect);
      }
    } catch (ErrnoException e) {
      throw e.errno() == Errno.ESRCH ? ended(e) : e;
    }
    // To older kernels the page tables of a process that has ended are empty: no write at all.
    if (!process.isAlive()) {
      throw ended(null);
    }
  }

  private void scan(int block, PageSet into, boolean protect) throws IOException {
    long start = mapping.hostAddress()[block];
    long end = start + mapping.layout().blocks().get(block).bytes();
    int first = mapping.layout().firstPage(block);
    int last = mapping.layout().firstPage(block + 1);
    if (!hasFile[block]) {
      pagemap.scan(
          start,
          end,
          Pagemap.WRITTEN,
          protect,
          (from, to, categories) ->
              into.addRange(page(first, start, from), page(first, start, to)));
      return;
    }
    pagemap.scan(
        start,
        end,
        Pagemap.WRITTEN | Pagemap.PRESENT,
        protect,
        (from, to, categories) -> {
          if ((categories & Pagemap.WRITTEN) != 0) {
            into.addRange(page(first, start, from), page(first, start, to));
          }
          if ((categories & Pagemap.PRESENT) != 0) {
            mappedNow.addRange(page(first, start, from), page(first, start, to));
          }
        });
    for (int page = mappedAtArming.next(first); page >= 0 && page < last; ) {
      if (!mappedNow.contains(page)) {
        seenUnmapped.add(page);
      }
      page = mappedAtArming.next(page + 1);
    }
  }

  private IOException ended(IOException cause) {
    return new IOException("process " + mapping.pid() + " has ended", cause);
  }

  private static boolean[] blocksWithFile(GuestMapping mapping) throws IOException {
    List<ProcessMaps.Mapping> maps = ProcessMaps.of(mapping.pid());
    boolean[] hasFile = new boolean[mapping.hostAddress().length];
    for (int block = 0; block < hasFile.length; block++) {
      long start = mapping.hostAddress()[block];
      long end = start + mapping.layout().blocks().get(block).bytes();
      for (ProcessMaps.Mapping map : maps) {
        hasFile[block] |= map.start() < end && map.end() > start && map.inode() != 0;
      }
    }
    return hasFile;
  }

  private static int page(int first, long start, long address) {
    return first + (int) ((address - start) >> Pages.SHIFT);
  }

  @Override
  public void close() {
    userfaultfd.close();
    pagemap.close();
    process.close();
  }

  private static void closeQuietly(AutoCloseable resource) {
    try {
      resource.close();
    } catch (Exception e) {
      throw new IllegalStateException("none of these throws", e);
    }
  }
}
