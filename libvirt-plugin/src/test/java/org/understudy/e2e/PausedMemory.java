package org.understudy.e2e;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.understudy.dirtylog.DirtyLog;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.linux.ProcessMemory;
import org.understudy.standby.PagemapPresence;
import org.understudy.tier.BlockHash;

/**
 * A dirty log that also hashes all of the guest's memory inside each pause, whatever the log says:
 * what the epoch must be equal to.
 */
final class PausedMemory implements DirtyLog {
  private static final int WINDOW_PAGES = 1024;

  private final DirtyLog log;
  private final GuestMapping mapping;
  private final boolean presentOnly;
  private final ProcessMemory memory;
  private final ByteBuffer window = ByteBuffer.allocateDirect(WINDOW_PAGES * Pages.SIZE);

  /** By block number, at the last pause. */
  final long[] hash;

  /** By block number: whether its hash at the last pause differs from the one before. */
  final boolean[] changed;

  /** Pages that were read at the last pause. */
  long pagesRead;

  /**
   * Arms nothing by itself.
   *
   * @param presentOnly whether pages that have no memory in QEMU's process are taken for zero
   *     unread, so that reading does not give them any; the memory of QEMU is anonymous here
   */
  PausedMemory(DirtyLog log, GuestMapping mapping, boolean presentOnly) {
    this.log = log;
    this.mapping = mapping;
    this.presentOnly = presentOnly;
    memory = new ProcessMemory(mapping.pid());
    hash = new long[mapping.layout().blocks().size()];
    changed = new boolean[hash.length];
  }

  @Override
  public String method() {
    return log.method();
  }

  @Override
  public void look(PageSet into) throws IOException {
    log.look(into);
  }

  @Override
  public void rearm(PageSet into) throws IOException {
    log.rearm(into);
    PageSet present = new PageSet(mapping.layout().pages());
    PagemapPresence presence = new PagemapPresence(mapping);
    pagesRead = 0;
    for (int block = 0; block < hash.length; block++) {
      if (presentOnly) {
        presence.present(block, present);
      }
      long now = hashOf(block, present);
      changed[block] = hash[block] != now;
      hash[block] = now;
    }
  }

  private long hashOf(int block, PageSet present) throws IOException {
    BlockHash hashed = new BlockHash();
    int end = mapping.layout().firstPage(block + 1);
    int page = mapping.layout().firstPage(block);
    while (page < end) {
      if (presentOnly && !present.contains(page)) {
        hashed.zeroPage();
        page++;
        continue;
      }
      int count = 1;
      while (count < WINDOW_PAGES
          && page + count < end
          && (!presentOnly || present.contains(page + count))) {
        count++;
      }
      memory.read(mapping.addressOf(page), window.clear().limit(count * Pages.SIZE));
      window.flip();
      for (int i = 0; i < count; i++) {
        hashed.page(window);
      }
      pagesRead += count;
      page += count;
    }
    return hashed.value();
  }

  @Override
  public void close() {
    log.close();
  }
}
