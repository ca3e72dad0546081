package org.understudy.tier;

/**
 * Where a page lies, in a long: kind in the two highest bits, below them the store's place, or for
 * a redo record {@code record << 32 | data page}. All bits zero is a zero page, so fresh memory
 * describes a guest of zeros.
 */
final class Location {
  static final int ZERO = 0;
  static final int MEDIUM = 1;
  static final int SLOW = 2;
  static final int REDO = 3;

  /** In a durable index: the page's content is in a redo record of a later epoch. */
  static final long IN_LATER_REDO = -1L;

  private static final int SHIFT = 62;
  private static final long PLACE = (1L << SHIFT) - 1;

  private Location() {}

  static int kind(long location) {
    return (int) (location >>> SHIFT);
  }

  static long place(long location) {
    return location & PLACE;
  }

  static long of(int kind, long place) {
    return (long) kind << SHIFT | place;
  }

  static long inRedo(int record, int dataPage) {
    return of(REDO, (long) record << 32 | dataPage);
  }

  static int redoRecord(long location) {
    return (int) (place(location) >>> 32);
  }

  static int redoPage(long location) {
    return (int) location;
  }
}
