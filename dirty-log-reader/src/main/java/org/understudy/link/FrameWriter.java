package org.understudy.link;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.util.zip.CRC32C;

/**
 * Gathers frames in one reused buffer and writes them when it is full or flushed. Thread-safe by
 * its own lock, held for a frame or for one write of at most the buffer's size: a heartbeat never
 * waits behind more than that.
 */
final class FrameWriter {
  private final WritableByteChannel channel;
  private final ByteBuffer buffer =
      ByteBuffer.allocateDirect(2 * (LinkFormat.HEADER_BYTES + LinkFormat.MAX_PAYLOAD_BYTES));
  private volatile long bytes;
  private volatile long blockedNs;

  FrameWriter(WritableByteChannel channel) {
    this.channel = channel;
  }

  /**
   * Appends a frame, and writes if the buffer is well filled.
   *
   * @param payload from its position to its limit; consumed
   * @param crc updated with header and payload, or null
   */
  synchronized void frame(int type, ByteBuffer payload, CRC32C crc) throws IOException {
    int length = payload.remaining();
    if (length > LinkFormat.MAX_PAYLOAD_BYTES) {
      throw new IllegalArgumentException("a frame of " + length + " bytes");
    }
    if (buffer.remaining() < LinkFormat.HEADER_BYTES + length) {
      flush();
    }
    int at = buffer.position();
    buffer.putShort((short) type).putShort((short) 0).putInt(length).put(payload);
    if (crc != null) {
      int end = buffer.position();
      buffer.limit(end).position(at);
      crc.update(buffer);
      buffer.limit(buffer.capacity()).position(end);
    }
    if (buffer.position() >= LinkFormat.MAX_PAYLOAD_BYTES) {
      flush();
    }
  }

  /** Writes everything gathered; blocks while the stream does not take it. */
  synchronized void flush() throws IOException {
    long started = System.nanoTime();
    int length = buffer.position();
    buffer.flip();
    try {
      while (buffer.hasRemaining()) {
        channel.write(buffer);
      }
    } finally {
      buffer.clear();
    }
    add(length, System.nanoTime() - started);
  }

  // Both are written under the lock and read without it.
  @SuppressWarnings("NonAtomicVolatileUpdate")
  private void add(int length, long ns) {
    bytes += length;
    blockedNs += ns;
  }

  /** Bytes written so far. */
  long bytes() {
    return bytes;
  }

  /** Time spent in writing. */
  long blockedNs() {
    return blockedNs;
  }
}
