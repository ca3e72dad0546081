package org.understudy.tier;

import org.understudy.guest.PageSet;

/**
 * Where each page of the guest is, and what its content's CRC32C is. 12 bytes a page in two arrays
 * (a long location, an int check) and 3 bits a page in sets: 12.375 bytes, of the 16 that a page
 * may cost. Guarded by the lock of {@link Tiers}.
 */
final class PageIndex {
  final int pages;
  final long[] location; // see Location
  final int[] check; // CRC32C of the content; 0 for a zero page
  final PageSet nonZero;
  final PageSet fast; // placed in the paused guest with the content that location names
  final PageSet unsaved; // changed since the index was last made durable
  private final int[] byKind = new int[4];
  private int fastCount;

  PageIndex(int pages) {
    this.pages = pages;
    location = new long[pages];
    check = new int[pages];
    nonZero = new PageSet(pages);
    fast = new PageSet(pages);
    unsaved = new PageSet(pages);
    byKind[Location.ZERO] = pages;
  }

  /** Sets a page's location; returns the one before. */
  long set(int page, long to, int contentCheck) {
    long from = location[page];
    byKind[Location.kind(from)]--;
    byKind[Location.kind(to)]++;
    location[page] = to;
    check[page] = contentCheck;
    if (to == 0) {
      nonZero.remove(page);
    } else {
      nonZero.add(page);
    }
    return from;
  }

  /** Number of pages of a {@link Location} kind. */
  int count(int kind) {
    return byKind[kind];
  }

  int nonZeroCount() {
    return pages - byKind[Location.ZERO];
  }

  int fastCount() {
    return fastCount;
  }

  void addFast(int page) {
    fast.add(page);
    fastCount++;
  }

  void removeFast(int page) {
    fast.remove(page);
    fastCount--;
  }

  void clearFast() {
    fast.clear();
    fastCount = 0;
  }

  /** Bytes of memory for a guest of {@code pages} pages, array headers left out. */
  static long bytes(int pages) {
    return pages * 12L + 3 * ((pages + 63) / 64 * 8L);
  }
}
