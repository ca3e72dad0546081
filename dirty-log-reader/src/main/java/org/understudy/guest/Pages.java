package org.understudy.guest;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** The guest page: 4096 bytes, the unit of everything that is tracked, sent, stored and placed. */
public final class Pages {
  /** Bytes in a page. */
  public static final int SIZE = 4096;

  /** log2 of {@link #SIZE}. */
  public static final int SHIFT = 12;

  private Pages() {}

  /**
   * Whether the {@link #SIZE} bytes of {@code buffer} from absolute index {@code at} are all zero.
   */
  public static boolean isZero(ByteBuffer buffer, int at) {
    // Order does not matter for a comparison with zero; native order keeps the loop a plain load.
    ByteBuffer words =
        buffer.order() == ByteOrder.nativeOrder()
            ? buffer
            : buffer.duplicate().order(ByteOrder.nativeOrder());
    for (int i = at; i < at + SIZE; i += 64) {
      long any =
          words.getLong(i)
              | words.getLong(i + 8)
              | words.getLong(i + 16)
              | words.getLong(i + 24)
              | words.getLong(i + 32)
              | words.getLong(i + 40)
              | words.getLong(i + 48)
              | words.getLong(i + 56);
      if (any != 0) {
        return false;
      }
    }
    return true;
  }
}
