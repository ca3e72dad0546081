package org.understudy.link;

import static org.understudy.link.LinkFormat.MAX_DEVICE_STATE_BYTES;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A device state put together from its frames. Holds memory for what came, not for what is said.
 */
final class DeviceStateParts {
  private static final int FIRST_BYTES = 256 << 10;

  private final FrameReader frames;
  private ByteBuffer bytes = ByteBuffer.allocateDirect(0);
  private int total; // 0 before the first part

  DeviceStateParts(FrameReader frames) {
    this.frames = frames;
  }

  void clear() {
    total = 0;
    bytes.clear();
  }

  boolean isWhole() {
    return total > 0 && bytes.position() == total;
  }

  boolean isPartial() {
    return total > 0 && bytes.position() < total;
  }

  /** Adds the part in the reader's frame. */
  void add() throws IOException {
    long totalSaid = frames.u32("total");
    long at = frames.u32("at");
    ByteBuffer part = frames.need(1, "bytes");
    if (totalSaid < 1 || totalSaid > MAX_DEVICE_STATE_BYTES) {
      throw frames.refuse(
          "device state of %d bytes, expected 1 to %d"
              .formatted(totalSaid, MAX_DEVICE_STATE_BYTES));
    }
    if (total > 0 && total != totalSaid) {
      throw frames.refuse("device state of %d bytes, was %d".formatted(totalSaid, total));
    }
    if (at != bytes.position()) {
      throw frames.refuse(
          "device state goes on at %d, expected at %d".formatted(at, bytes.position()));
    }
    if (at + part.remaining() > totalSaid) {
      throw frames.refuse(
          "device state of %d bytes goes on to %d".formatted(totalSaid, at + part.remaining()));
    }
    total = (int) totalSaid;
    if (bytes.remaining() < part.remaining()) {
      int capacity =
          Math.max(
              FIRST_BYTES, Math.max(2 * bytes.capacity(), bytes.position() + part.remaining()));
      bytes = ByteBuffer.allocateDirect(capacity).put(bytes.flip());
    }
    bytes.put(part);
  }

  /** The whole state, position 0; valid until {@link #clear}. */
  ByteBuffer whole() {
    return bytes.asReadOnlyBuffer().flip();
  }
}
