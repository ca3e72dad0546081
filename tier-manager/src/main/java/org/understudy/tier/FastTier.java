package org.understudy.tier;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * The RAM of the paused standby guest, as the tiers see it. Pages can be placed (again), and taken
 * out, as often as wanted until the promotion begins. Fast is a cache: every page in it also lies
 * in Medium or Slow.
 */
public interface FastTier {
  /**
   * Places a page, or replaces it.
   *
   * @param content the page's bytes from its position; copied before this returns
   */
  void place(int page, ByteBuffer content) throws IOException;

  /** Takes pages {@code from} to {@code to} - 1 out; they are missing afterwards. */
  void discard(int from, int to) throws IOException;

  /**
   * Returns when everything placed and discarded so far is on its way to the guest, in that order.
   */
  void flush() throws IOException;
}
