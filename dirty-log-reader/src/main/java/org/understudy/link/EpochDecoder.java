package org.understudy.link;

import static org.understudy.link.LinkFormat.DEVICE_STATE;
import static org.understudy.link.LinkFormat.EPOCH_BEGIN;
import static org.understudy.link.LinkFormat.EPOCH_DISCARD;
import static org.understudy.link.LinkFormat.EPOCH_END;
import static org.understudy.link.LinkFormat.PAGES;
import static org.understudy.link.LinkFormat.REQUIRED_EPOCH_FLAGS;
import static org.understudy.link.LinkFormat.VERSION;

import java.io.IOException;
import java.nio.channels.ReadableByteChannel;
import java.util.zip.CRC32C;
import org.understudy.guest.EpochSink;

/**
 * Reads epochs from a file or a link and drives a sink. The sink sees a page only after the frame's
 * check, and its {@code commit} only after counts and checksum of the whole epoch. Whatever goes
 * wrong, in the stream or in the sink, the unfinished epoch is discarded and the exception passed
 * on; the decoder is then of no more use. One thread.
 */
public final class EpochDecoder {
  /** What reading has led to. */
  public enum Step {
    /** An epoch has begun and goes on. */
    UNFINISHED,
    /** The sink has committed the epoch. */
    COMMITTED,
    /** The writer took the epoch back; the sink has discarded it. */
    DISCARDED,
    /** The stream ended between two epochs. */
    END_OF_STREAM
  }

  private final FrameReader frames;
  private final int pages;
  private final EpochSink sink;
  private final PageRecords records;
  private final DeviceStateParts state;
  private final CRC32C checksum = new CRC32C();

  private boolean open;
  private long epoch;
  private long committed;
  private long epochPages;
  private long epochBytes;

  /**
   * Reads a file of epochs.
   *
   * @param channel blocking; read ahead of what has been decoded
   * @param pages number of pages of the guest's layout
   * @param committed epoch that the first one must be higher than, 0 for any
   */
  public EpochDecoder(ReadableByteChannel channel, int pages, long committed, EpochSink sink) {
    this(new FrameReader(channel, System::nanoTime), pages, committed, sink);
  }

  EpochDecoder(FrameReader frames, int pages, long committed, EpochSink sink) {
    this.frames = frames;
    this.pages = pages;
    this.committed = committed;
    this.sink = sink;
    records = new PageRecords(frames, pages, sink);
    state = new DeviceStateParts(frames);
  }

  /**
   * Reads one epoch to its end.
   *
   * @return how it ended, never {@link Step#UNFINISHED}
   * @throws LinkFormatException for anything but whole epochs
   */
  public Step next() throws IOException {
    Step step;
    do {
      step = frame(nextFrame());
    } while (step == Step.UNFINISHED);
    return step;
  }

  /** Number of the epoch begun last. */
  public long epoch() {
    return epoch;
  }

  /** Number of the epoch committed last, or the one given at the beginning. */
  public long committedEpoch() {
    return committed;
  }

  /** Goes to the next frame, of whatever type. */
  int nextFrame() throws IOException {
    try {
      return frames.next();
    } catch (IOException | RuntimeException e) {
      abandon(e);
      throw e;
    }
  }

  /** Takes the frame that {@link #nextFrame} went to. */
  Step frame(int type) throws IOException {
    try {
      return take(type);
    } catch (IOException | RuntimeException e) {
      abandon(e);
      throw e;
    }
  }

  /** Whether an epoch has begun and not ended. */
  boolean isOpen() {
    return open;
  }

  /** Discards the unfinished epoch, if there is one; a failure to do so is added to the cause. */
  void abandon(Exception cause) {
    if (open) {
      open = false;
      try {
        sink.discard();
      } catch (IOException | RuntimeException e) {
        cause.addSuppressed(e);
      }
    }
  }

  private Step take(int type) throws IOException {
    switch (type) {
      case EPOCH_BEGIN -> begin();
      case PAGES -> pages();
      case DEVICE_STATE -> deviceState();
      case EPOCH_END -> {
        return end();
      }
      case EPOCH_DISCARD -> {
        return discard();
      }
      case FrameReader.END_OF_STREAM -> {
        if (open) {
          throw frames.refuse("stream ends within epoch " + epoch);
        }
        return Step.END_OF_STREAM;
      }
      default ->
          throw frames.refuse(
              LinkFormat.name(type) + (open ? " within epoch " + epoch : ", expected EPOCH_BEGIN"));
    }
    frames.endOfBody();
    frames.addHeaderTo(checksum);
    epochBytes += frames.frameBytes();
    return Step.UNFINISHED;
  }

  private void begin() throws IOException {
    if (open) {
      throw frames.refuse("EPOCH_BEGIN within epoch " + epoch);
    }
    long number = frames.i64("epoch");
    int version = frames.u16("version");
    int flags = frames.u16("flags");
    long count = frames.u32("pages");
    if (version != VERSION) {
      throw frames.refuse("version " + version + " in EPOCH_BEGIN, expected " + VERSION);
    }
    int unknown = flags & ~LinkFormat.KNOWN_EPOCH_FLAGS & REQUIRED_EPOCH_FLAGS;
    if (unknown != 0) {
      throw frames.refuse(
          "epoch flags 0x%04x are not known, this side knows 0x%04x"
              .formatted(unknown, LinkFormat.KNOWN_EPOCH_FLAGS));
    }
    if (number <= committed) {
      throw frames.refuse(
          "epoch " + number + " begins, expected one after the committed " + committed);
    }
    if (count != pages) {
      throw frames.refuse(
          "epoch " + number + " of a guest with " + count + " pages, expected " + pages);
    }
    epoch = number;
    epochPages = 0;
    epochBytes = 0;
    checksum.reset();
    state.clear();
    open = true;
    sink.begin(epoch);
  }

  private void pages() throws IOException {
    inside(PAGES);
    if (state.isPartial()) {
      throw frames.refuse("PAGES within the device state of epoch " + epoch);
    }
    epochPages += records.give();
  }

  private void deviceState() throws IOException {
    inside(DEVICE_STATE);
    if (state.isWhole()) {
      throw frames.refuse("a second device state in epoch " + epoch);
    }
    state.add();
    if (state.isWhole()) {
      sink.deviceState(state.whole());
    }
  }

  private Step end() throws IOException {
    inside(EPOCH_END);
    long number = frames.i64("epoch");
    long pagesSaid = frames.i64("pages");
    long bytesSaid = frames.i64("bytes");
    int checksumSaid = (int) frames.u32("checksum");
    frames.endOfBody();
    same(EPOCH_END, number);
    if (!state.isWhole()) {
      throw frames.refuse("EPOCH_END of epoch " + epoch + " without its device state");
    }
    if (pagesSaid != epochPages) {
      throw frames.refuse(
          "epoch %d has %d pages, its end says %d".formatted(epoch, epochPages, pagesSaid));
    }
    if (bytesSaid != epochBytes) {
      throw frames.refuse(
          "epoch %d has %d bytes, its end says %d".formatted(epoch, epochBytes, bytesSaid));
    }
    if (checksumSaid != (int) checksum.getValue()) {
      throw frames.refuse(
          "epoch %d has checksum 0x%08x, its end says 0x%08x"
              .formatted(epoch, (int) checksum.getValue(), checksumSaid));
    }
    sink.commit();
    open = false;
    committed = epoch;
    return Step.COMMITTED;
  }

  private Step discard() throws IOException {
    inside(EPOCH_DISCARD);
    long number = frames.i64("epoch");
    frames.endOfBody();
    same(EPOCH_DISCARD, number);
    open = false;
    sink.discard();
    return Step.DISCARDED;
  }

  private void inside(int type) throws LinkFormatException {
    if (!open) {
      throw frames.refuse(LinkFormat.name(type) + " outside an epoch");
    }
  }

  private void same(int type, long number) throws LinkFormatException {
    if (number != epoch) {
      throw frames.refuse(
          "%s of epoch %d within epoch %d".formatted(LinkFormat.name(type), number, epoch));
    }
  }
}
