package org.understudy.link;

import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;
import net.jpountz.lz4.LZ4Exception;
import net.jpountz.lz4.LZ4Factory;
import net.jpountz.lz4.LZ4SafeDecompressor;
import org.understudy.guest.EpochSink;
import org.understudy.guest.Pages;

/**
 * Gives the epochs that frames hold to a sink, and commits only what is complete and right. One
 * thread.
 */
final class EpochDecoder {
  private final FrameReader in;
  private final int guestPages;
  private final EpochSink sink;
  private final LZ4SafeDecompressor decompressor = LZ4Factory.fastestInstance().safeDecompressor();
  private final ByteBuffer page = ByteBuffer.allocateDirect(Pages.SIZE);
  private final CRC32C crc = new CRC32C();
  private ByteBuffer deviceState = ByteBuffer.allocateDirect(256 << 10).limit(0);
  private long committed;
  private long epoch;
  private long pages;
  private boolean stateGiven;

  EpochDecoder(FrameReader in, int guestPages, long committed, EpochSink sink) {
    this.in = in;
    this.guestPages = guestPages;
    this.committed = committed;
    this.sink = new StickySink(sink);
  }

  /** Number of the unfinished epoch, 0 when there is none. */
  long unfinished() {
    return epoch;
  }

  /** The link is gone: forgets the unfinished epoch. */
  void abandon() throws IOException {
    if (epoch != 0) {
      epoch = 0;
      sink.discard();
    }
  }

  /**
   * Takes the reader's present frame, one of an epoch.
   *
   * @return the epoch that it ended and that is whole and right, to be committed by {@link
   *     #commit}; else 0
   */
  long take() throws IOException {
    try {
      return take(in.type(), in.payload());
    } catch (BufferUnderflowException e) {
      throw new LinkFormatException(
          in.frameOffset(), "frame type " + in.type() + " is shorter than its fields");
    }
  }

  /**
   * Commits the epoch that {@link #take} returned. A failure is the sink's, the epoch is discarded.
   */
  void commit(long ended) throws IOException {
    sink.commit();
    committed = ended;
  }

  private long take(int type, ByteBuffer payload) throws IOException {
    if (type == LinkFormat.EPOCH_BEGIN) {
      long number = payload.getLong();
      require(epoch == 0, "EPOCH_BEGIN " + number + " within epoch " + epoch);
      require(number > committed, "epoch " + number + ", committed is " + committed);
      crc.reset();
      count(payload);
      epoch = number;
      pages = 0;
      stateGiven = false;
      deviceState.limit(0);
      sink.begin(number);
      return 0;
    }
    require(epoch != 0, "frame type " + type + " outside an epoch");
    switch (type) {
      case LinkFormat.PAGES -> {
        count(payload);
        pages(payload);
      }
      case LinkFormat.DEVICE_STATE -> {
        count(payload);
        deviceState(payload);
      }
      case LinkFormat.EPOCH_END -> {
        return end(payload);
      }
      case LinkFormat.EPOCH_DISCARD -> {
        long number = payload.getLong();
        require(number == epoch, "EPOCH_DISCARD " + number + " within epoch " + epoch);
        ended(payload);
        abandon();
      }
      default -> require(false, "frame type " + type + " inside epoch " + epoch);
    }
    return 0;
  }

  private void count(ByteBuffer payload) {
    int position = payload.position();
    crc.update(in.whole());
    in.payload().position(position);
  }

  private void pages(ByteBuffer payload) throws IOException {
    int records = payload.getShort();
    require(
        records >= 1 && records <= LinkFormat.MAX_RECORDS, "PAGES with " + records + " records");
    for (int i = 0; i < records; i++) {
      int number = payload.getInt();
      int kind = payload.get();
      require(number >= 0 && number < guestPages, "page " + number + " of " + guestPages);
      switch (kind) {
        case LinkFormat.RAW -> {
          require(
              payload.remaining() >= Pages.SIZE, "a RAW page of " + payload.remaining() + " bytes");
          int end = payload.position() + Pages.SIZE;
          int limit = payload.limit();
          payload.limit(end);
          page.clear().put(payload).flip();
          payload.limit(limit);
          give(number);
        }
        case LinkFormat.LZ4 -> {
          int length = Short.toUnsignedInt(payload.getShort());
          require(
              length >= 1 && length < Pages.SIZE && length <= payload.remaining(),
              "an LZ4 page of " + length + " bytes, " + payload.remaining() + " are left");
          unpack(payload, length);
          give(number);
        }
        case LinkFormat.ZERO -> {
          int run = payload.getInt();
          require(
              run >= 1 && run <= guestPages - number,
              run + " zero pages from " + number + " of " + guestPages);
          pages += run;
          for (int zero = number; zero < number + run; zero++) {
            sink.zeroPage(zero);
          }
        }
        default -> require(false, "page kind " + kind);
      }
    }
    ended(payload);
  }

  private void unpack(ByteBuffer payload, int length) throws IOException {
    int size = -1;
    try {
      size =
          decompressor.decompress(payload, payload.position(), length, page.clear(), 0, Pages.SIZE);
    } catch (LZ4Exception e) {
      require(false, "an LZ4 block that is none: " + e.getMessage());
    }
    require(size == Pages.SIZE, "an LZ4 block of " + size + " bytes, expected " + Pages.SIZE);
    payload.position(payload.position() + length);
    page.position(0).limit(Pages.SIZE);
  }

  private void give(int number) throws IOException {
    pages++;
    sink.page(number, page);
  }

  private void deviceState(ByteBuffer payload) throws IOException {
    int total = payload.getInt();
    int offset = payload.getInt();
    int length = payload.remaining();
    require(
        total >= 1 && total <= LinkFormat.MAX_DEVICE_STATE_BYTES && !stateGiven,
        "a device state of " + Integer.toUnsignedString(total) + " bytes");
    require(
        offset == deviceState.limit() && length >= 1 && length <= total - offset,
        length
            + " bytes of device state at "
            + offset
            + " of "
            + total
            + ", had "
            + deviceState.limit());
    if (deviceState.capacity() < total) {
      ByteBuffer larger = ByteBuffer.allocateDirect(total);
      larger.put(deviceState.position(0)).flip();
      deviceState = larger;
    }
    deviceState.limit(offset + length).position(offset);
    deviceState.put(payload);
    if (offset + length == total) {
      stateGiven = true;
      sink.deviceState(deviceState.position(0));
    }
  }

  private long end(ByteBuffer payload) throws IOException {
    long number = payload.getLong();
    long count = payload.getLong();
    int sum = payload.getInt();
    require(number == epoch, "EPOCH_END " + number + " within epoch " + epoch);
    require(stateGiven, "EPOCH_END " + number + " without a whole device state");
    require(count == pages, "EPOCH_END with " + count + " pages, " + pages + " came");
    require(
        sum == (int) crc.getValue(),
        "EPOCH_END with checksum 0x"
            + Integer.toHexString(sum)
            + ", the frames have 0x"
            + Integer.toHexString((int) crc.getValue()));
    ended(payload);
    epoch = 0;
    return number;
  }

  private void ended(ByteBuffer payload) throws IOException {
    require(
        !payload.hasRemaining(),
        payload.remaining() + " bytes too many in frame type " + in.type());
  }

  private void require(boolean holds, String found) throws LinkFormatException {
    if (!holds) {
      throw new LinkFormatException(in.frameOffset(), found);
    }
  }
}
