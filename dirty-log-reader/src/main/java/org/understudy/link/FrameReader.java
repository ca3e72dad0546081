package org.understudy.link;

import static org.understudy.link.LinkFormat.HEADER_BYTES;
import static org.understudy.link.LinkFormat.MANDATORY;
import static org.understudy.link.LinkFormat.MAX_BODY_BYTES;
import static org.understudy.link.LinkFormat.MAX_FRAME_BYTES;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.function.LongSupplier;
import java.util.zip.CRC32C;

/**
 * Frames of a blocking channel, one at a time, each checked before anything of it is given out.
 * Unknown optional frames are skipped and counted, unknown mandatory ones refused. One direct
 * buffer; no object per frame.
 */
final class FrameReader {
  /** What {@link #next} returns when the stream ends between two frames. */
  static final int END_OF_STREAM = 0;

  /** Reads or writes of no byte in a row that a blocking channel is forgiven. */
  static final int MAX_IDLE = 1000;

  private final ReadableByteChannel channel;
  private final LongSupplier clockNs;
  private final ByteBuffer buffer = ByteBuffer.allocateDirect(2 * MAX_FRAME_BYTES);
  private final CRC32C check = new CRC32C();

  // buffer holds the stream's bytes from offset on: [frameAt, filled), the frame and what follows.
  private int frameAt;
  private int frameBytes;
  private int filled;
  private long offset;
  private int type;

  private volatile boolean waiting;
  private volatile long changedNs; // when waiting changed last
  private volatile long bytesRead;
  private volatile long skipped;

  FrameReader(ReadableByteChannel channel, LongSupplier clockNs) {
    this.channel = channel;
    this.clockNs = clockNs;
    changedNs = clockNs.getAsLong();
  }

  /**
   * Goes to the next known frame; its body is then read through the methods below.
   *
   * @return its type or {@link #END_OF_STREAM}
   * @throws LinkFormatException for anything that is not a whole frame
   */
  @SuppressWarnings("NonAtomicVolatileUpdate") // written by this thread alone
  int next() throws IOException {
    while (true) {
      frameAt += frameBytes;
      offset += frameBytes;
      frameBytes = 0;
      int got = ensure(HEADER_BYTES);
      if (got == 0) {
        return END_OF_STREAM;
      }
      if (got < HEADER_BYTES) {
        throw refuse("stream ends " + got + " bytes into a frame header, expected " + HEADER_BYTES);
      }
      int length = checkHeader();
      got = ensure(HEADER_BYTES + length) - HEADER_BYTES;
      if (got < length) {
        throw refuse(
            "stream ends %d bytes into the body of %s, expected %d"
                .formatted(got, LinkFormat.name(type), length));
      }
      frameBytes = HEADER_BYTES + length;
      checkBody();
      if (LinkFormat.isKnown(type)) {
        buffer.limit(frameAt + frameBytes).position(frameAt + HEADER_BYTES);
        return type;
      }
      skipped++;
    }
  }

  private int checkHeader() throws LinkFormatException {
    int expected = crc(frameAt, frameAt + HEADER_BYTES - 4);
    int found = buffer.getInt(frameAt + HEADER_BYTES - 4);
    if (found != expected) {
      throw refuse(
          "header check 0x%08x of a frame header, expected 0x%08x".formatted(found, expected));
    }
    type = buffer.get(frameAt) & 0xFF;
    int reserved = buffer.getInt(frameAt) & 0xFFFFFF;
    if (reserved != 0) {
      throw refuse("reserved bytes 0x%06x in a frame header, expected 0".formatted(reserved));
    }
    long length = buffer.getInt(frameAt + 4) & 0xFFFFFFFFL;
    if ((type & ~MANDATORY) == 0) {
      throw refuse("frame type 0x%02x, its code must not be 0".formatted(type));
    }
    if (!LinkFormat.isKnown(type) && (type & MANDATORY) != 0) {
      throw refuse("unknown mandatory frame 0x%02x of %d bytes".formatted(type, length));
    }
    if (length > MAX_BODY_BYTES) {
      throw refuse(
          "body of %d bytes in frame %s, expected at most %d"
              .formatted(length, LinkFormat.name(type), MAX_BODY_BYTES));
    }
    return (int) length;
  }

  private void checkBody() throws LinkFormatException {
    int expected = crc(frameAt + HEADER_BYTES, frameAt + frameBytes);
    int found = buffer.getInt(frameAt + 8);
    if (found != expected) {
      throw refuse(
          "body check 0x%08x of %s, expected 0x%08x"
              .formatted(found, LinkFormat.name(type), expected));
    }
  }

  private int crc(int from, int to) {
    check.reset();
    check.update(buffer.limit(to).position(from));
    buffer.limit(buffer.capacity());
    return (int) check.getValue();
  }

  /** Reads until {@code bytes} of the frame are there; returns how many are, fewer at the end. */
  @SuppressWarnings("NonAtomicVolatileUpdate") // written by this thread alone
  private int ensure(int bytes) throws IOException {
    if (frameAt == filled) {
      frameAt = 0;
      filled = 0;
    } else if (frameAt + bytes > buffer.capacity()) {
      buffer.limit(filled).position(frameAt).compact();
      filled -= frameAt;
      frameAt = 0;
    }
    int idle = 0;
    while (filled - frameAt < bytes) {
      buffer.limit(buffer.capacity()).position(filled);
      int count = listen();
      if (count < 0) {
        return filled - frameAt;
      }
      filled += count;
      bytesRead += count;
      idle = count == 0 ? idle + 1 : 0;
      if (idle > MAX_IDLE) {
        throw new IOException("the channel gave no byte " + idle + " times, is it not blocking?");
      }
    }
    return bytes;
  }

  private int listen() throws IOException {
    changedNs = clockNs.getAsLong();
    waiting = true;
    try {
      return channel.read(buffer);
    } finally {
      changedNs = clockNs.getAsLong();
      waiting = false;
    }
  }

  /** Nanoseconds spent listening since the last byte, 0 while nobody listens. */
  long silentNs() {
    long now = clockNs.getAsLong();
    return waiting ? Math.max(0, now - changedNs) : 0;
  }

  /** Nanoseconds since somebody listened, 0 while somebody does. */
  long busyNs() {
    long now = clockNs.getAsLong();
    return waiting ? 0 : Math.max(0, now - changedNs);
  }

  /** Bytes read from the channel. */
  long bytesRead() {
    return bytesRead;
  }

  /** Unknown optional frames skipped. */
  long skippedFrames() {
    return skipped;
  }

  /** Bytes of the frame, its header counted. */
  int frameBytes() {
    return frameBytes;
  }

  /** Adds the frame's header to an epoch's checksum. */
  void addHeaderTo(CRC32C checksum) {
    int limit = buffer.limit();
    int position = buffer.position();
    checksum.update(buffer.limit(frameAt + HEADER_BYTES).position(frameAt));
    buffer.limit(limit).position(position);
  }

  /** The body of the frame from what has been read of it; big-endian, valid until {@link #next}. */
  ByteBuffer body() {
    return buffer;
  }

  /** A refusal of the frame. */
  LinkFormatException refuse(String reason) {
    return new LinkFormatException(offset, reason);
  }

  int u8(String field) throws LinkFormatException {
    return need(1, field).get() & 0xFF;
  }

  int u16(String field) throws LinkFormatException {
    return need(2, field).getShort() & 0xFFFF;
  }

  long u32(String field) throws LinkFormatException {
    return need(4, field).getInt() & 0xFFFFFFFFL;
  }

  /** Any 64 bits. */
  long bits64(String field) throws LinkFormatException {
    return need(8, field).getLong();
  }

  /** A number of 64 bits that is not negative. */
  long i64(String field) throws LinkFormatException {
    long value = bits64(field);
    if (value < 0) {
      throw refuse(
          "%s of %s is %d, expected at least 0".formatted(field, LinkFormat.name(type), value));
    }
    return value;
  }

  String string(String field, int minBytes, int maxBytes) throws LinkFormatException {
    int length = u16(field);
    if (length < minBytes || length > maxBytes) {
      throw refuse(
          "%s of %s has %d bytes, expected %d to %d"
              .formatted(field, LinkFormat.name(type), length, minBytes, maxBytes));
    }
    need(length, field);
    ByteBuffer bytes = buffer.slice(buffer.position(), length);
    buffer.position(buffer.position() + length);
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
    } catch (CharacterCodingException e) {
      throw refuse("%s of %s is not UTF-8".formatted(field, LinkFormat.name(type)));
    }
  }

  /** Refuses bytes after the last field. */
  void endOfBody() throws LinkFormatException {
    if (buffer.hasRemaining()) {
      throw refuse(buffer.remaining() + " bytes after the last field of " + LinkFormat.name(type));
    }
  }

  /** The body, when it still has {@code bytes}. */
  ByteBuffer need(int bytes, String field) throws LinkFormatException {
    if (buffer.remaining() < bytes) {
      throw refuse(LinkFormat.name(type) + " ends within its field " + field);
    }
    return buffer;
  }
}
