package org.understudy.link;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;

/** Reads frame after frame from a stream into one reused buffer. Owned by one thread. */
final class FrameReader {
  private final ReadableByteChannel channel;
  private final ByteBuffer buffer =
      ByteBuffer.allocateDirect(2 * (LinkFormat.HEADER_BYTES + LinkFormat.MAX_PAYLOAD_BYTES));
  private final ByteBuffer frame = buffer.duplicate();
  private long bufferOffset; // of the buffer's first byte in the stream
  private int start; // of the frame read last, in the buffer
  private int type;

  FrameReader(ReadableByteChannel channel) {
    this.channel = channel;
    buffer.limit(0);
  }

  /**
   * Waits for the next frame.
   *
   * @return false at an orderly end of the stream, between two frames
   */
  boolean next() throws IOException {
    if (!fill(LinkFormat.HEADER_BYTES)) {
      return false;
    }
    int at = buffer.position();
    type = Short.toUnsignedInt(buffer.getShort(at));
    int zero = buffer.getShort(at + 2);
    int length = buffer.getInt(at + 4);
    if (type == 0 || zero != 0 || length < 0 || length > LinkFormat.MAX_PAYLOAD_BYTES) {
      throw new LinkFormatException(
          bufferOffset + at,
          "frame type "
              + type
              + ", zero field "
              + zero
              + ", length "
              + Integer.toUnsignedString(length)
              + ", expected a type, 0, and at most "
              + LinkFormat.MAX_PAYLOAD_BYTES);
    }
    fill(LinkFormat.HEADER_BYTES + length);
    start = buffer.position(); // filling may have moved it
    frame.limit(start + LinkFormat.HEADER_BYTES + length);
    buffer.position(frame.limit());
    return true;
  }

  /** Type of the frame read last. */
  int type() {
    return type;
  }

  /** Offset of the frame read last in the stream. */
  long frameOffset() {
    return bufferOffset + start;
  }

  /** Header and payload of the frame read last; valid until {@link #next}. */
  ByteBuffer whole() {
    return frame.position(start);
  }

  /** Payload of the frame read last; valid until {@link #next}. */
  ByteBuffer payload() {
    return frame.position(start + LinkFormat.HEADER_BYTES);
  }

  private boolean fill(int wanted) throws IOException {
    if (buffer.remaining() >= wanted) {
      return true;
    }
    if (buffer.capacity() - buffer.position() < wanted) {
      bufferOffset += buffer.position();
      buffer.compact().flip();
    }
    while (buffer.remaining() < wanted) {
      int position = buffer.position();
      int limit = buffer.limit();
      buffer.limit(buffer.capacity()).position(limit);
      int count;
      try {
        count = channel.read(buffer);
      } finally {
        buffer.limit(buffer.position()).position(position);
      }
      if (count < 0) {
        if (buffer.remaining() == 0 && wanted == LinkFormat.HEADER_BYTES) {
          return false;
        }
        throw new EOFException(
            "epoch link: the stream ends within a frame, at offset 0x"
                + Long.toHexString(bufferOffset + buffer.limit()));
      }
    }
    return true;
  }
}
