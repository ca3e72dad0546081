package org.understudy.link;

import static org.understudy.link.LinkFormat.DEVICE_STATE;
import static org.understudy.link.LinkFormat.EPOCH_BEGIN;
import static org.understudy.link.LinkFormat.EPOCH_DISCARD;
import static org.understudy.link.LinkFormat.EPOCH_END;
import static org.understudy.link.LinkFormat.LZ4;
import static org.understudy.link.LinkFormat.MAX_BODY_BYTES;
import static org.understudy.link.LinkFormat.MAX_DEVICE_STATE_BYTES;
import static org.understudy.link.LinkFormat.MAX_FRAME_BYTES;
import static org.understudy.link.LinkFormat.MAX_RECORDS;
import static org.understudy.link.LinkFormat.MAX_RUN;
import static org.understudy.link.LinkFormat.PAGES;
import static org.understudy.link.LinkFormat.RAW;
import static org.understudy.link.LinkFormat.RECORD_BYTES;
import static org.understudy.link.LinkFormat.VERSION;
import static org.understudy.link.LinkFormat.ZERO;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import net.jpountz.lz4.LZ4Compressor;
import net.jpountz.lz4.LZ4Factory;
import org.understudy.guest.EpochSink;
import org.understudy.guest.Pages;

/**
 * Writes epochs as frames, to a file or a link. Frames are gathered and written at the end of an
 * epoch or when 256 KiB are full. Page by page it makes no object. After an IOException it is of no
 * more use. One thread.
 */
public final class EpochEncoder implements EpochSink {
  /** What is tried to make pages smaller. */
  public enum Compression {
    /** Nothing. */
    NONE,
    /** LZ4, kept where it saves at least an eighth. */
    LZ4
  }

  private static final LZ4Compressor COMPRESSOR = LZ4Factory.fastestInstance().fastCompressor();
  private static final int MAX_LZ4_BYTES = COMPRESSOR.maxCompressedLength(Pages.SIZE);
  private static final int WORTHWHILE_BYTES = Pages.SIZE - Pages.SIZE / 8;
  private static final int LONGEST_RECORD_BYTES = RECORD_BYTES + MAX_LZ4_BYTES;

  private final FrameWriter frames;
  private final int pages;
  private final Compression compression;

  private boolean open;
  private long epoch;
  private long epochPages;
  private long epochBytes;
  private boolean stateGiven;

  // The PAGES frame being filled, null when none is; its last record when that is a zero run.
  private ByteBuffer body;
  private int records;
  private int countAt;
  private int runAt;
  private int runFirst;
  private int runPages;

  private volatile long rawPages;
  private volatile long lz4Pages;
  private volatile long zeroPages;

  /**
   * Writes LZ4 pages and zero runs to a channel.
   *
   * @param channel blocking; stays the caller's to close and to force
   * @param pages number of pages of the guest's layout
   */
  public EpochEncoder(WritableByteChannel channel, int pages) {
    this(channel, pages, Compression.LZ4);
  }

  /** As the other, with the compression named. */
  public EpochEncoder(WritableByteChannel channel, int pages, Compression compression) {
    this(new FrameWriter(FrameWriter.to(channel, FrameWriter.CHUNK_BYTES)), pages, compression);
  }

  EpochEncoder(FrameWriter frames, int pages, Compression compression) {
    this.frames = frames;
    this.pages = pages;
    this.compression = compression;
  }

  @Override
  public void begin(long epoch) throws IOException {
    if (open || epoch <= 0) {
      throw new IllegalStateException(
          "epoch " + epoch + " begins" + (open ? " within epoch " + this.epoch : ""));
    }
    this.epoch = epoch;
    epochPages = 0;
    epochBytes = 0;
    stateGiven = false;
    frames.resetChecksum();
    frames
        .begin(EPOCH_BEGIN, 16)
        .putLong(epoch)
        .putShort((short) VERSION)
        .putShort((short) LinkFormat.KNOWN_EPOCH_FLAGS)
        .putInt(pages);
    epochBytes += frames.end();
    open = true;
  }

  @Override
  @SuppressWarnings("NonAtomicVolatileUpdate") // written by this thread alone
  public void page(int page, ByteBuffer content) throws IOException {
    int at = content.position();
    if (content.remaining() < Pages.SIZE) {
      throw new IllegalArgumentException(
          "page " + page + " with " + content.remaining() + " bytes, expected " + Pages.SIZE);
    }
    record(page, LONGEST_RECORD_BYTES);
    runPages = 0;
    int contentAt = body.position() + RECORD_BYTES;
    int bytes = Pages.SIZE;
    if (compression == Compression.LZ4) {
      // With room for the worst case the compressor never throws.
      bytes = COMPRESSOR.compress(content, at, Pages.SIZE, body, contentAt, MAX_LZ4_BYTES);
    }
    if (bytes <= WORTHWHILE_BYTES) {
      body.putInt(page).putInt(LZ4 << 24 | bytes);
      lz4Pages++;
    } else {
      bytes = Pages.SIZE;
      body.putInt(page).putInt(RAW << 24 | bytes);
      body.put(contentAt, content, at, bytes);
      rawPages++;
    }
    body.position(contentAt + bytes);
    epochPages++;
  }

  @Override
  @SuppressWarnings("NonAtomicVolatileUpdate") // written by this thread alone
  public void zeroPage(int page) throws IOException {
    if (body != null && runPages > 0 && runPages < MAX_RUN && page == runFirst + runPages) {
      check(page);
      body.putInt(runAt + 4, ZERO << 24 | ++runPages);
    } else {
      record(page, RECORD_BYTES);
      runAt = body.position();
      runFirst = page;
      runPages = 1;
      body.putInt(page).putInt(ZERO << 24 | 1);
    }
    epochPages++;
    zeroPages++;
  }

  @Override
  public void deviceState(ByteBuffer state) throws IOException {
    check();
    int total = state.remaining();
    if (total == 0 || total > MAX_DEVICE_STATE_BYTES || stateGiven) {
      throw new IOException(
          stateGiven
              ? "a second device state in epoch " + epoch
              : "device state of %d bytes, expected 1 to %d"
                  .formatted(total, MAX_DEVICE_STATE_BYTES));
    }
    endPages();
    int from = state.position();
    for (int at = 0; at < total; ) {
      int bytes = Math.min(total - at, MAX_BODY_BYTES - 8);
      ByteBuffer part = frames.begin(DEVICE_STATE, 8 + bytes).putInt(total).putInt(at);
      int partAt = part.position();
      part.put(partAt, state, from + at, bytes).position(partAt + bytes);
      epochBytes += frames.end();
      at += bytes;
    }
    stateGiven = true;
  }

  /**
   * Ends the epoch; all of it has been given to the channel on return.
   *
   * @throws IllegalStateException when no epoch is open or its device state is missing
   */
  @Override
  public void commit() throws IOException {
    check();
    if (!stateGiven) {
      throw new IllegalStateException("epoch " + epoch + " ends without its device state");
    }
    endPages();
    frames
        .begin(EPOCH_END, 28)
        .putLong(epoch)
        .putLong(epochPages)
        .putLong(epochBytes)
        .putInt(frames.checksum());
    frames.end();
    open = false;
    frames.flush();
  }

  /** Forgets the epoch begun last; does nothing when none is open. */
  @Override
  public void discard() throws IOException {
    if (!open) {
      return;
    }
    endPages();
    open = false;
    frames.begin(EPOCH_DISCARD, 8).putLong(epoch);
    frames.end();
    frames.flush();
  }

  /** Pages written as they are, so far. */
  public long rawPages() {
    return rawPages;
  }

  /** Pages written as LZ4 blocks, so far. */
  public long lz4Pages() {
    return lz4Pages;
  }

  /** Pages written within zero runs, so far. */
  public long zeroPages() {
    return zeroPages;
  }

  /** Whether an epoch has begun and not ended. */
  boolean isOpen() {
    return open;
  }

  private void check() {
    if (!open) {
      throw new IllegalStateException("no epoch has begun");
    }
  }

  private void check(int page) {
    check();
    if (page < 0 || page >= pages) {
      throw new IndexOutOfBoundsException("page " + page + " of a guest with " + pages + " pages");
    }
  }

  /** Makes room for one more record of at most {@code bytes}. */
  private void record(int page, int bytes) throws IOException {
    check(page);
    if (body != null
        && (records == MAX_RECORDS
            || body.remaining() < bytes
            || frames.frameBytes() + bytes > MAX_FRAME_BYTES)) {
      endPages();
    }
    if (body == null) {
      body = frames.begin(PAGES, 2 + bytes);
      countAt = body.position();
      body.position(countAt + 2);
      records = 0;
      runPages = 0;
    }
    records++;
  }

  private void endPages() {
    if (body != null) {
      body.putShort(countAt, (short) records);
      epochBytes += frames.end();
      body = null;
    }
  }
}
