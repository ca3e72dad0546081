package org.understudy.tier;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;
import org.understudy.guest.Pages;

/**
 * A few pages on their way from where they lie to a store or to Fast. They are chosen under the
 * lock of {@link Tiers}, read and written without it, and put into the index under the lock again,
 * each one only if it still lies where it was read: so a slow disk holds up neither a freeze nor a
 * commit. Belongs to the commit thread.
 */
final class Relocation {
  static final int PAGES = 16;

  /** Where the pages go. */
  enum Target {
    /** Medium, and Slow when it has no room. */
    STORE,
    MEDIUM,
    SLOW,
    FAST
  }

  private final Tiers tiers;
  private final int[] page = new int[PAGES];
  private final int[] check = new int[PAGES];
  private final long[] from = new long[PAGES];
  private final long[] to = new long[PAGES];
  private final RedoRecord[] record = new RedoRecord[PAGES];
  private final ByteBuffer slab = ByteBuffer.allocateDirect(PAGES * Pages.SIZE);
  private final CRC32C crc = new CRC32C();
  private Target target;
  private int chosen;
  private int carried; // pages read, and written unless the target is Fast

  Relocation(Tiers tiers) {
    this.tiers = tiers;
  }

  /** Begins anew. */
  void to(Target newTarget) {
    target = newTarget;
    chosen = carried = 0;
  }

  Target target() {
    return target;
  }

  int chosen() {
    return chosen;
  }

  boolean isFull() {
    return chosen == PAGES;
  }

  /** Adds a non-zero page, under the lock. */
  void choose(int number) {
    page[chosen] = number;
    check[chosen] = tiers.index.check[number];
    from[chosen] = tiers.index.location[number];
    record[chosen] = tiers.recordOf(from[chosen]);
    chosen++;
  }

  /**
   * Reads the pages, and writes them to the store, without the lock.
   *
   * @throws IOException when a store is full or fails; what was carried before can be put
   */
  void carry() throws IOException {
    slab.clear();
    for (; carried < chosen; carried++) {
      int start = carried * Pages.SIZE;
      slab.limit(start + Pages.SIZE).position(start);
      tiers.read(page[carried], from[carried], check[carried], record[carried], slab, crc);
      slab.position(start);
      if (target != Target.FAST) {
        to[carried] = write();
      }
    }
  }

  private long write() throws IOException {
    if (target != Target.SLOW) {
      try {
        long place = tiers.medium.write(slab);
        if (place != PageStore.NO_ROOM) {
          return Location.of(Location.MEDIUM, place);
        }
      } catch (IOException e) {
        if (target == Target.MEDIUM || !StandbyImage.isNoSpace(e)) {
          throw e;
        }
      }
      if (target == Target.MEDIUM) {
        return from[carried]; // stays
      }
    }
    long place = tiers.slow.write(slab);
    if (place == PageStore.NO_ROOM) {
      throw new IOException(
          "no room within Slow's limit, " + tiers.slow.usedBytes() + " bytes in use");
    }
    return Location.of(Location.SLOW, place);
  }

  /** Lets the index name the new places, under the lock; returns the number of pages moved. */
  int put() {
    int moved = 0;
    for (int i = 0; i < carried; i++) {
      if (to[i] == from[i]) {
        continue;
      }
      if (tiers.index.location[page[i]] == from[i]) {
        tiers.point(page[i], to[i], check[i]);
        moved++;
      } else {
        tiers.free(to[i]); // no index ever named it
      }
    }
    return moved;
  }

  /** Gives up what was carried, under the lock. */
  void drop() {
    for (int i = 0; i < carried && target != Target.FAST; i++) {
      if (to[i] != from[i]) {
        tiers.free(to[i]);
      }
    }
  }

  /** Number of pages that can be placed in Fast. */
  int carried() {
    return carried;
  }

  /** Whether page {@code i} may still be placed, under the lock. */
  boolean isCurrent(int i) {
    return tiers.index.location[page[i]] == from[i];
  }

  int page(int i) {
    return page[i];
  }

  /** Content of page {@code i}. */
  ByteBuffer content(int i) {
    return slab.limit((i + 1) * Pages.SIZE).position(i * Pages.SIZE);
  }
}
