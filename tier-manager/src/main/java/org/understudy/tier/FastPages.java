package org.understudy.tier;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The paused guest's RAM as far as the index is concerned: keeps the index's set of placed pages
 * true. A guest that stops taking pages is given up, and Fast is empty until the next one is
 * attached. Guarded by the lock of {@link Tiers}.
 */
final class FastPages {
  private static final Logger LOG = LoggerFactory.getLogger(FastPages.class);

  private final PageIndex index;
  private FastTier guest; // null: none attached
  private int outFrom; // pages taken out of the index, of which the guest is still to be told
  private int outTo;
  private boolean unflushed;
  private long losses;

  FastPages(PageIndex index) {
    this.index = index;
  }

  boolean isAttached() {
    return guest != null;
  }

  long losses() {
    return losses;
  }

  void attach(FastTier tier) {
    if (guest != null) {
      throw new IllegalStateException("a paused guest is attached already");
    }
    guest = tier;
    forget();
  }

  void detach() {
    guest = null;
    forget();
  }

  /** Places a page, new or again. */
  void place(int page, ByteBuffer content) {
    if (guest == null) {
      return;
    }
    tellOut();
    try {
      if (guest != null) {
        guest.place(page, content);
        unflushed = true;
        if (!index.fast.contains(page)) {
          index.addFast(page);
        }
      }
    } catch (IOException e) {
      lost(e);
    }
  }

  /** Takes a page out that is in. */
  void takeOut(int page) {
    index.removeFast(page);
    if (page != outTo || outFrom == outTo) {
      tellOut();
      outFrom = page;
    }
    outTo = page + 1;
  }

  /** Takes out pages, the highest numbers first, until at most {@code limit} are in. */
  void trim(int limit) {
    for (int page = index.pages - 1; index.fastCount() > limit; page--) {
      if (index.fast.contains(page)) {
        takeOut(page);
      }
    }
  }

  /** Returns when the guest has been sent everything. */
  void flush() {
    tellOut();
    if (guest == null || !unflushed) {
      return;
    }
    try {
      guest.flush();
      unflushed = false;
    } catch (IOException e) {
      lost(e);
    }
  }

  private void tellOut() {
    if (outFrom == outTo) {
      return;
    }
    int from = outFrom;
    int to = outTo;
    outFrom = outTo = 0;
    if (guest != null) {
      try {
        guest.discard(from, to);
        unflushed = true;
      } catch (IOException e) {
        lost(e);
      }
    }
  }

  private void lost(IOException e) {
    LOG.warn("the paused guest takes no more pages, Fast is empty: {}", e.toString());
    losses++;
    detach();
  }

  private void forget() {
    index.clearFast();
    outFrom = outTo = 0;
    unflushed = false;
  }
}
