package org.understudy.link;

import static org.understudy.link.LinkFormat.HEADER_BYTES;
import static org.understudy.link.LinkFormat.MANDATORY;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32C;

/**
 * Puts frames one after the other into a chunk and passes chunks on, whole frames only. Keeps the
 * running checksum over the headers of mandatory frames.
 */
final class FrameWriter {
  /** Bytes of a chunk: the most that is written between two chances for a heartbeat. */
  static final int CHUNK_BYTES = 256 << 10;

  /** Where chunks come from and go to. */
  interface Outlet {
    /** An empty direct buffer; may block. */
    ByteBuffer take() throws IOException;

    /** Takes over the buffer given last, ready to be read. */
    void pass(ByteBuffer chunk) throws IOException;
  }

  private final Outlet outlet;
  private final CRC32C check = new CRC32C();
  private final CRC32C chain = new CRC32C();
  private ByteBuffer out;
  private int frameAt;
  private int type;

  FrameWriter(Outlet outlet) {
    this.outlet = outlet;
  }

  /** An outlet with one buffer of {@code bytes} that writes to a blocking channel. */
  static Outlet to(WritableByteChannel channel, int bytes) {
    ByteBuffer chunk = ByteBuffer.allocateDirect(bytes);
    return new Outlet() {
      @Override
      public ByteBuffer take() {
        return chunk.clear();
      }

      @Override
      public void pass(ByteBuffer filled) throws IOException {
        writeFully(channel, filled);
      }
    };
  }

  /** Writes until nothing remains. */
  static void writeFully(WritableByteChannel channel, ByteBuffer source) throws IOException {
    int idle = 0;
    while (source.hasRemaining()) {
      idle = channel.write(source) == 0 ? idle + 1 : 0;
      if (idle > FrameReader.MAX_IDLE) {
        throw new IOException("the channel took no byte " + idle + " times, is it not blocking?");
      }
    }
  }

  /**
   * Begins a frame.
   *
   * @param room bytes of body that must fit
   * @return where the body goes, from its position; valid until {@link #end}
   */
  ByteBuffer begin(int type, int room) throws IOException {
    if (out != null && out.remaining() < HEADER_BYTES + room) {
      flush();
    }
    if (out == null) {
      out = outlet.take();
    }
    this.type = type;
    frameAt = out.position();
    return out.position(frameAt + HEADER_BYTES);
  }

  /** Bytes of the frame begun, its header counted. */
  int frameBytes() {
    return out.position() - frameAt;
  }

  /** Ends the frame and returns its bytes, its header counted. */
  int end() {
    int end = out.position();
    check.reset();
    check.update(out.limit(end).position(frameAt + HEADER_BYTES));
    out.putInt(frameAt, type << 24);
    out.putInt(frameAt + 4, end - frameAt - HEADER_BYTES);
    out.putInt(frameAt + 8, (int) check.getValue());
    check.reset();
    check.update(out.limit(frameAt + HEADER_BYTES - 4).position(frameAt));
    out.limit(out.capacity()).putInt(frameAt + HEADER_BYTES - 4, (int) check.getValue());
    if ((type & MANDATORY) != 0) {
      chain.update(out.limit(frameAt + HEADER_BYTES).position(frameAt));
    }
    out.limit(out.capacity()).position(end);
    return end - frameAt;
  }

  /** Starts the checksum over headers anew. */
  void resetChecksum() {
    chain.reset();
  }

  /** The checksum over the headers of mandatory frames. */
  int checksum() {
    return (int) chain.getValue();
  }

  /** Passes on what has been put, if anything. */
  void flush() throws IOException {
    if (out != null && out.position() > 0) {
      ByteBuffer filled = out.flip();
      out = null;
      outlet.pass(filled);
    }
  }

  /** Puts u16 bytes and UTF-8, cut to {@code maxBytes} at a character. */
  static void putString(ByteBuffer body, String text, int maxBytes) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    int length = Math.min(bytes.length, maxBytes);
    while (length < bytes.length && length > 0 && (bytes[length] & 0xC0) == 0x80) {
      length--;
    }
    body.putShort((short) length).put(bytes, 0, length);
  }
}
