package org.understudy.dirtylog;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.linux.Pagemap;
import org.understudy.linux.PidFd;

/**
 * The soft-dirty bits of kernels with CONFIG_MEM_SOFT_DIRTY: bit 55 of each pagemap entry, cleared
 * for the whole process by writing 4 to /proc/PID/clear_refs. Reading and clearing are two steps:
 * arm only while nothing writes.
 *
 * <p>Memory that is thrown away (a balloon) is not soft-dirty, so a page whose entry changed in any
 * other way since the last arming counts as written, too; that includes pages the kernel moved.
 */
final class SoftDirtyLog implements DirtyLog {
  static final String METHOD = "soft-dirty";
  private static final int CHUNK_PAGES = 1 << 16;

  private final GuestMapping mapping;
  private final PidFd process;
  private final Pagemap pagemap;
  private final BackingFile[] files; // by block; null for anonymous memory
  private final ByteBuffer chunk =
      ByteBuffer.allocateDirect(8 * CHUNK_PAGES).order(ByteOrder.nativeOrder());
  private final long[] entryAtArming; // by page, without bit 55
  private boolean armed;

  SoftDirtyLog(GuestMapping mapping) throws IOException {
    this.mapping = mapping;
    entryAtArming = new long[mapping.layout().pages()];
    process = new PidFd(mapping.pid());
    Pagemap opened = null;
    try {
      opened = new Pagemap(mapping.pid());
      files = BackingFile.ofBlocks(mapping);
    } catch (IOException e) {
      if (opened != null) {
        opened.close();
      }
      process.close();
      throw e;
    }
    pagemap = opened;
  }

  @Override
  public String method() {
    return METHOD;
  }

  @Override
  public void look(PageSet into) throws IOException {
    scan(into, false);
  }

  @Override
  public void rearm(PageSet into) throws IOException {
    scan(into, true);
    clear(mapping.pid());
    armed = true;
  }

  private void scan(PageSet into, boolean arm) throws IOException {
    for (int block = 0; block < files.length; block++) {
      int first = mapping.layout().firstPage(block);
      int last = mapping.layout().firstPage(block + 1);
      long hostPage = mapping.hostAddress()[block] >> 12;
      if (files[block] != null && files[block].changedSinceArming(arm)) {
        into.addRange(first, last);
      }
      for (int at = first; at < last; at += CHUNK_PAGES) {
        int pages = Math.min(CHUNK_PAGES, last - at);
        pagemap.read(hostPage + (at - first), chunk.clear().limit(8 * pages));
        for (int i = 0; i < pages; i++) {
          long entry = chunk.getLong(8 * i);
          long rest = entry & ~Pagemap.SOFT_DIRTY_BIT;
          if (!armed || rest != entry || rest != entryAtArming[at + i]) {
            into.add(at + i);
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

  /** Clears the soft-dirty bits of a whole process. */
  static void clear(int pid) throws IOException {
    Files.write(Path.of("/proc/" + pid + "/clear_refs"), "4".getBytes(StandardCharsets.US_ASCII));
  }

  @Override
  public void close() {
    pagemap.close();
    process.close();
  }
}
