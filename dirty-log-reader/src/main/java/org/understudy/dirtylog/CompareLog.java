package org.understudy.dirtylog;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.security.SecureRandom;
import net.jpountz.xxhash.XXHash64;
import net.jpountz.xxhash.XXHashFactory;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.linux.PidFd;
import org.understudy.linux.ProcessMemory;

/**
 * Works on every kernel: reads all RAM and compares each page's XXH64, with a secret random seed,
 * against the one at the last arming. Two contents of a page have the same one with a chance of
 * 2^-64. A page written with what it held is not reported. Arm only while nothing writes.
 */
final class CompareLog implements DirtyLog {
  static final String METHOD = "compare";
  private static final int CHUNK_PAGES = 256;

  private final GuestMapping mapping;
  private final PidFd process; // its number must not come to mean another process
  private final ProcessMemory memory;
  private final XXHash64 xxh64 = XXHashFactory.fastestInstance().hash64();
  private final long seed = new SecureRandom().nextLong();
  private final ByteBuffer chunk = ByteBuffer.allocateDirect(CHUNK_PAGES * Pages.SIZE);
  private final long[] hashAtArming; // by page
  private final PageSet
      seen; // by looks since the last arming: content may have changed and changed back
  private boolean armed;

  CompareLog(GuestMapping mapping) throws IOException {
    this.mapping = mapping;
    process = new PidFd(mapping.pid());
    memory = new ProcessMemory(mapping.pid());
    hashAtArming = new long[mapping.layout().pages()];
    seen = new PageSet(mapping.layout().pages());
  }

  @Override
  public String method() {
    return METHOD;
  }

  @Override
  public void look(PageSet into) throws IOException {
    compare(seen, false, armed);
    into.addAll(seen);
  }

  @Override
  public void rearm(PageSet into) throws IOException {
    boolean wasArmed = armed;
    armed = false; // stays so if this fails half-way: then everything counts as written
    compare(into, true, wasArmed);
    into.addAll(seen);
    seen.clear();
    armed = true;
  }

  private void compare(PageSet into, boolean arm, boolean armed) throws IOException {
    if (!process.isAlive()) {
      throw new IOException("process " + mapping.pid() + " has ended");
    }
    for (int block = 0; block < mapping.hostAddress().length; block++) {
      int first = mapping.layout().firstPage(block);
      int last = mapping.layout().firstPage(block + 1);
      for (int at = first; at < last; at += CHUNK_PAGES) {
        int pages = Math.min(CHUNK_PAGES, last - at);
        long address = mapping.hostAddress()[block] + ((long) (at - first) << Pages.SHIFT);
        memory.read(address, chunk.clear().limit(pages * Pages.SIZE));
        for (int i = 0; i < pages; i++) {
          long hash = xxh64.hash(chunk, i * Pages.SIZE, Pages.SIZE, seed);
          if (!armed || hash != hashAtArming[at + i]) {
            into.add(at + i);
          }
          if (arm) {
            hashAtArming[at + i] = hash;
          }
        }
      }
    }
  }

  @Override
  public void close() {
    process.close();
  }
}
