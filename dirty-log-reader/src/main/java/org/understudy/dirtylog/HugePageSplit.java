package org.understudy.dirtylog;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;

/**
 * Splits transparent huge pages of a guest, because a huge page has one soft-dirty bit for its 512
 * pages: a byte written would cost 2 MiB in the next epoch. The kernel's way to ask for it from
 * outside is {@code split_huge_pages} in debugfs (Linux 5.13; mm/huge_memory.c). The guest's memory
 * stays as it is, its content too; a page that I/O holds pinned is left alone.
 */
final class HugePageSplit implements AutoCloseable {
  /** Pages in a huge page. */
  static final int PAGES = 512;

  private static final Path REQUESTS = Path.of("/sys/kernel/debug/split_huge_pages");
  private static final Logger LOG = LoggerFactory.getLogger(HugePageSplit.class);

  private final GuestMapping mapping;
  private final boolean possible = possible();
  private final ThreadPoolExecutor thread =
      new ThreadPoolExecutor(
          1,
          1,
          0,
          TimeUnit.SECONDS,
          new ArrayBlockingQueue<>(1),
          task -> {
            Thread made = new Thread(task, "huge-page-split");
            made.setDaemon(true);
            return made;
          });

  HugePageSplit(GuestMapping mapping) {
    this.mapping = mapping;
  }

  /** Whether this host lets us. */
  static boolean possible() {
    return Files.isWritable(REQUESTS);
  }

  /** Splits all of the guest's now. */
  void splitAll() {
    for (int block = 0; possible && block < mapping.hostAddress().length; block++) {
      long start = mapping.hostAddress()[block];
      split(start, start + mapping.layout().blocks().get(block).bytes());
    }
  }

  /**
   * Splits, while the guest runs, those that begin at any of {@code firstPages}; new ones appear
   * when the guest touches memory for the first time, and when the kernel joins pages.
   */
  void splitSoon(PageSet firstPages) {
    if (!possible || firstPages.isEmpty()) {
      return;
    }
    PageSet mine = new PageSet(firstPages.capacity());
    mine.addAll(firstPages);
    try {
      thread.execute(() -> split(mine));
    } catch (RejectedExecutionException busy) {
      // they show again at the next arming
    }
  }

  private void split(PageSet firstPages) {
    for (int page = firstPages.next(0); page >= 0; page = firstPages.next(page + 1)) {
      long start = mapping.addressOf(page);
      split(start, start + PAGES * 4096L);
    }
  }

  private void split(long start, long end) {
    String request = "%d,0x%x,0x%x".formatted(mapping.pid(), start, end);
    try {
      Files.write(REQUESTS, request.getBytes(StandardCharsets.US_ASCII));
    } catch (IOException e) {
      LOG.debug("huge pages of {} stay: {}", request, e.toString());
    }
  }

  @Override
  public void close() {
    thread.shutdownNow();
  }
}
