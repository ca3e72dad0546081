package org.understudy.tier;

import java.util.Arrays;

/**
 * Which units of a file are in use: a bitmap, one bit a unit, so that neighbouring free units are
 * always one run. Searches go on from where the last one ended and start over at the end; one that
 * finds nothing near takes fresh units, and only at the limit is the whole map looked through. Not
 * thread-safe.
 */
public final class FreeSpace {
  private static final int NEAR = 64; // runs looked at before fresh units are taken
  private static final int SCARCE = 16; // with less than 1/16 free, fresh units are taken at once

  private long[] used = new long[16];
  private int top; // no unit from here on is in use
  private int cursor;
  private int searched; // where the last search ended
  private long usedUnits;

  /**
   * Takes a run of free units.
   *
   * @param units length of the run, positive
   * @param limit the run ends at or before this unit
   * @return its first unit, or -1 when there is none
   */
  public int allocate(int units, int limit) {
    int at = -1;
    if (usedUnits + units > limit) {
      return at;
    }
    if ((top - usedUnits) * SCARCE >= top) {
      int to = Math.min(top, limit);
      at = search(cursor, to, units, NEAR);
      cursor = at < 0 && searched >= to ? 0 : searched;
    }
    if (at < 0 && top <= limit - units) {
      at = top;
    }
    if (at < 0) {
      at = search(0, Math.min(top, limit), units, Integer.MAX_VALUE);
    }
    if (at >= 0) {
      take(at, units);
    }
    return at;
  }

  /** Takes exactly these units; false, and nothing taken, when one of them is in use. */
  public boolean claim(int at, int units) {
    for (int unit = at; unit < at + units; unit++) {
      if (unit < top && (used[unit >>> 6] & 1L << unit) != 0) {
        return false;
      }
    }
    take(at, units);
    return true;
  }

  /** Gives units back, all of them in use. */
  public void free(int at, int units) {
    for (int unit = at; unit < at + units; unit++) {
      long bit = 1L << unit;
      if (unit >= top || (used[unit >>> 6] & bit) == 0) {
        throw new IllegalStateException("unit " + unit + " of " + top + " freed twice");
      }
      used[unit >>> 6] &= ~bit;
    }
    usedUnits -= units;
    if (at + units == top) {
      lowerTop();
    }
  }

  /** Number of units in use. */
  public long usedUnits() {
    return usedUnits;
  }

  /** One more than the highest unit in use. */
  public int top() {
    return top;
  }

  private void lowerTop() {
    int word = (top - 1) >>> 6;
    while (word >= 0 && used[word] == 0) {
      word--;
    }
    top = word < 0 ? 0 : (word << 6) + 64 - Long.numberOfLeadingZeros(used[word]);
    if (cursor > top) {
      cursor = 0;
    }
  }

  private void take(int at, int units) {
    int end = at + units;
    if (end > used.length << 6 || end < 0) {
      used = Arrays.copyOf(used, Math.max((end + 63) >>> 6, used.length + (used.length >> 1)));
    }
    for (int unit = at; unit < end; unit++) {
      used[unit >>> 6] |= 1L << unit;
    }
    usedUnits += units;
    top = Math.max(top, end);
  }

  private int search(int from, int to, int units, int probes) {
    int at = nextFree(from, to);
    for (int i = 0; i < probes && at <= to - units; i++) {
      int end = nextUsed(at, at + units);
      if (end - at >= units) {
        searched = at + units;
        return at;
      }
      at = nextFree(end, to);
    }
    searched = at;
    return -1;
  }

  private int nextFree(int from, int to) {
    return nextBit(from, to, -1L);
  }

  private int nextUsed(int from, int to) {
    return nextBit(from, to, 0);
  }

  private int nextBit(int from, int to, long flip) {
    if (from >= to) {
      return to;
    }
    int word = from >>> 6;
    long bits = (used[word] ^ flip) & -1L << from;
    while (bits == 0) {
      if (++word << 6 >= to) {
        return to;
      }
      bits = used[word] ^ flip;
    }
    return Math.min(to, (word << 6) + Long.numberOfTrailingZeros(bits));
  }
}
