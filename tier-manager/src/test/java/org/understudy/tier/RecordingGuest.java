package org.understudy.tier;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.BitSet;
import org.understudy.guest.Pages;

/** A paused guest's RAM as an array: holds what was placed, and knows the most it ever held. */
final class RecordingGuest implements FastTier {
  final byte[][] ram;
  final BitSet present = new BitSet();
  int most;
  int limit = Integer.MAX_VALUE; // more pages than this at once are a failure
  int placesUntilDeath = Integer.MAX_VALUE;
  boolean flushed = true;

  RecordingGuest(int pages) {
    ram = new byte[pages][];
  }

  @Override
  public void place(int page, ByteBuffer content) throws IOException {
    if (placesUntilDeath-- <= 0) {
      throw new IOException("the paused guest has died");
    }
    byte[] copy = new byte[Pages.SIZE];
    content.get(content.position(), copy);
    ram[page] = copy;
    present.set(page);
    most = Math.max(most, present.cardinality());
    flushed = false;
    if (present.cardinality() > limit) {
      throw new AssertionError(present.cardinality() + " pages in Fast, limit " + limit);
    }
  }

  @Override
  public void discard(int from, int to) {
    for (int page = from; page < to; page++) {
      ram[page] = null;
    }
    present.clear(from, to);
    flushed = false;
  }

  @Override
  public void flush() {
    flushed = true;
  }
}
