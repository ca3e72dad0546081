package org.understudy.link;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;
import net.jpountz.lz4.LZ4Compressor;
import net.jpountz.lz4.LZ4Factory;
import org.understudy.guest.EpochSink;
import org.understudy.guest.Pages;

/** Writes epochs as frames. One thread; allocates nothing per page. */
final class EpochEncoder implements EpochSink {
  private static final int RECORD_HEADER_BYTES = 5;

  private final FrameWriter out;
  private final LZ4Compressor compressor = LZ4Factory.fastestInstance().fastCompressor();
  private final ByteBuffer payload = ByteBuffer.allocateDirect(LinkFormat.MAX_PAYLOAD_BYTES);
  private final ByteBuffer source = ByteBuffer.allocateDirect(Pages.SIZE);
  private final ByteBuffer packed =
      ByteBuffer.allocateDirect(compressor.maxCompressedLength(Pages.SIZE));
  private final CRC32C crc = new CRC32C();
  private long epoch;
  private long pages;
  private int records;
  private int zeroFrom = -1;
  private int zeroCount;
  private volatile long rawBytes;

  EpochEncoder(FrameWriter out) {
    this.out = out;
  }

  /** Bytes of the pages given so far, zero pages included, before compression. */
  long rawBytes() {
    return rawBytes;
  }

  @Override
  public void begin(long number) throws IOException {
    if (epoch != 0) {
      throw new IllegalStateException("epoch " + number + " begins within epoch " + epoch);
    }
    epoch = number;
    pages = 0;
    crc.reset();
    startPages();
    ByteBuffer begin = ByteBuffer.allocate(8).putLong(number).flip();
    out.frame(LinkFormat.EPOCH_BEGIN, begin, crc);
  }

  @Override
  @SuppressWarnings("NonAtomicVolatileUpdate") // one writer
  public void page(int page, ByteBuffer content) throws IOException {
    endZeroRun();
    int end = content.position() + Pages.SIZE;
    source.clear();
    int limit = content.limit();
    source.put(content.limit(end)).flip();
    content.limit(limit);
    int length = compressor.compress(source, 0, Pages.SIZE, packed, 0, packed.capacity());
    if (length < Pages.SIZE - Pages.SIZE / 16) {
      payload.putInt(page).put((byte) LinkFormat.LZ4).putShort((short) length);
      payload.put(packed.limit(length).position(0));
      packed.clear();
    } else {
      payload.putInt(page).put((byte) LinkFormat.RAW).put(source.position(0));
    }
    pages++;
    rawBytes += Pages.SIZE;
    record();
  }

  @Override
  @SuppressWarnings("NonAtomicVolatileUpdate") // one writer
  public void zeroPage(int page) throws IOException {
    pages++;
    rawBytes += Pages.SIZE;
    if (zeroCount > 0 && page == zeroFrom + zeroCount) {
      zeroCount++;
      return;
    }
    endZeroRun();
    zeroFrom = page;
    zeroCount = 1;
  }

  @Override
  public void deviceState(ByteBuffer state) throws IOException {
    endPages();
    int total = state.remaining();
    if (total < 1 || total > LinkFormat.MAX_DEVICE_STATE_BYTES) {
      throw new IOException(
          "a device state of "
              + total
              + " bytes, the link takes 1 to "
              + LinkFormat.MAX_DEVICE_STATE_BYTES);
    }
    ByteBuffer part = state.duplicate();
    for (int at = 0; at < total; at += LinkFormat.DEVICE_STATE_PART_BYTES) {
      int length = Math.min(LinkFormat.DEVICE_STATE_PART_BYTES, total - at);
      payload.clear().putInt(total).putInt(at);
      payload.put(part.limit(state.position() + at + length).position(state.position() + at));
      out.frame(LinkFormat.DEVICE_STATE, payload.flip(), crc);
    }
    state.position(state.limit());
    startPages();
  }

  @Override
  public void commit() throws IOException {
    endPages();
    payload.clear().putLong(epoch).putLong(pages).putInt((int) crc.getValue());
    out.frame(LinkFormat.EPOCH_END, payload.flip(), null);
    epoch = 0;
    out.flush();
  }

  @Override
  public void discard() throws IOException {
    if (epoch == 0) {
      return;
    }
    payload.clear().putLong(epoch);
    epoch = 0;
    zeroCount = 0;
    out.frame(LinkFormat.EPOCH_DISCARD, payload.flip(), null);
    out.flush();
  }

  private void endZeroRun() throws IOException {
    if (zeroCount == 0) {
      return;
    }
    payload.putInt(zeroFrom).put((byte) LinkFormat.ZERO).putInt(zeroCount);
    zeroCount = 0;
    record();
  }

  private void record() throws IOException {
    // A later record needs at most header, length and a raw page; 64 of them always fit the
    // payload.
    if (++records == LinkFormat.MAX_RECORDS
        || payload.remaining() < RECORD_HEADER_BYTES + 2 + Pages.SIZE) {
      writePages();
    }
  }

  private void endPages() throws IOException {
    endZeroRun();
    writePages();
  }

  private void writePages() throws IOException {
    if (records > 0) {
      payload.putShort(0, (short) records).flip();
      out.frame(LinkFormat.PAGES, payload, crc);
    }
    startPages();
  }

  private void startPages() {
    payload.clear().putShort((short) 0);
    records = 0;
  }
}
