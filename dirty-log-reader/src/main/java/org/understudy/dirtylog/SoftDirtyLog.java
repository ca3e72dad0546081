package org.understudy.dirtylog;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.RamBlock;
import org.understudy.linux.Pagemap;
import org.understudy.linux.PidFd;
import org.understudy.linux.ProcessMaps;

/**
 * The soft-dirty bits of kernels with CONFIG_MEM_SOFT_DIRTY: bit 55 of each pagemap entry, cleared
 * for the whole process by writing 4 to /proc/PID/clear_refs. Reading and clearing are two steps:
 * arm only while nothing writes.
 *
 * <p>Memory that is thrown away (a balloon) is not soft-dirty, so a page whose entry changed in any
 * other way since the last arming counts as written, too; that includes pages the kernel moved. A
 * huge page is marked whole, so huge pages are split where the host lets us ({@link
 * HugePageSplit}).
 */
final class SoftDirtyLog implements DirtyLog {
  static final String METHOD = "soft-dirty";
  private static final int CHUNK_PAGES = 1 << 16;

  private final GuestMapping mapping;
  private final PidFd process;
  private final Pagemap pagemap;
  private final ByteBuffer chunk =
      ByteBuffer.allocateDirect(8 * CHUNK_PAGES).order(ByteOrder.nativeOrder());
  private final long[] entryAtArming; // by page, without bit 55
  private final PageSet
      seen; // by looks since the last arming: an entry may have changed and changed back
  private final HugePageSplit hugePages;
  private final PageSet marked; // first pages of what is marked as a huge page would be
  private boolean armed;

  SoftDirtyLog(GuestMapping mapping) throws IOException {
    refuseHugetlb(mapping);
    this.mapping = mapping;
    entryAtArming = new long[mapping.layout().pages()];
    seen = new PageSet(mapping.layout().pages());
    marked = new PageSet(mapping.layout().pages());
    hugePages = new HugePageSplit(mapping);
    process = new PidFd(mapping.pid());
    try {
      pagemap = new Pagemap(mapping.pid());
    } catch (IOException e) {
      process.close();
      throw e;
    }
    hugePages.splitAll();
  }

  @Override
  public String method() {
    return METHOD;
  }

  @Override
  public void look(PageSet into) throws IOException {
    scan(seen, false, armed);
    into.addAll(seen);
  }

  @Override
  public void rearm(PageSet into) throws IOException {
    boolean wasArmed = armed;
    armed = false; // stays so if this fails half-way: then everything counts as written
    marked.clear();
    scan(into, true, wasArmed);
    into.addAll(seen);
    seen.clear();
    clear(mapping.pid());
    armed = true;
    if (wasArmed) { // otherwise everything counts as marked
      hugePages.splitSoon(marked);
    }
  }

  /** The kernel keeps no soft-dirty bits for hugetlbfs pages. */
  private static void refuseHugetlb(GuestMapping mapping) throws IOException {
    for (ProcessMaps.Mapping map : ProcessMaps.withFlags(mapping.pid())) {
      for (int block = 0; map.hugetlb() && block < mapping.hostAddress().length; block++) {
        RamBlock ram = mapping.layout().blocks().get(block);
        long start = mapping.hostAddress()[block];
        if (map.start() < start + ram.bytes() && map.end() > start) {
          throw new IOException(
              "RAM block " + ram.name() + " is hugetlbfs memory, which has no soft-dirty bits");
        }
      }
    }
  }

  private void scan(PageSet into, boolean arm, boolean armed) throws IOException {
    for (int block = 0; block < mapping.hostAddress().length; block++) {
      int first = mapping.layout().firstPage(block);
      int last = mapping.layout().firstPage(block + 1);
      long hostPage = mapping.hostAddress()[block] >> 12;
      int run = 0; // of marked pages up to here
      for (int at = first; at < last; at += CHUNK_PAGES) {
        int pages = Math.min(CHUNK_PAGES, last - at);
        pagemap.read(hostPage + (at - first), chunk.clear().limit(8 * pages));
        for (int i = 0; i < pages; i++) {
          long entry = chunk.getLong(8 * i);
          long rest = entry & ~Pagemap.SOFT_DIRTY_BIT;
          if (!armed || rest != entry || rest != entryAtArming[at + i]) {
            into.add(at + i);
            run++;
          } else {
            run = 0;
          }
          if (arm && run >= HugePageSplit.PAGES && endsHugePage(hostPage + at - first + i)) {
            marked.add(at + i + 1 - HugePageSplit.PAGES);
          }
          if (arm) {
            entryAtArming[at + i] = rest;
          }
        }
      }
    }
    if (!process.isAlive()) {
      throw new IOException("process " + mapping.pid() + " has ended");
    }
  }

  private static boolean endsHugePage(long hostPage) {
    return (hostPage + 1) % HugePageSplit.PAGES == 0;
  }

  /** Clears the soft-dirty bits of a whole process. */
  static void clear(int pid) throws IOException {
    Files.write(Path.of("/proc/" + pid + "/clear_refs"), "4".getBytes(StandardCharsets.US_ASCII));
  }

  @Override
  public void close() {
    hugePages.close();
    pagemap.close();
    process.close();
  }
}
