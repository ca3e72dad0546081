package org.understudy.link;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.util.List;
import java.util.function.Consumer;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;
import org.understudy.guest.Pages;

/** Frames whose checks are right and whose content is not. */
class HostileStreamTest {
  private static final int PAGES = 100;
  private static final Consumer<ByteBuffer> BEGIN =
      body -> body.putLong(7).putShort((short) 1).putShort((short) 0).putInt(PAGES);

  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private final FrameWriter out =
      new FrameWriter(FrameWriter.to(Channels.newChannel(bytes), FrameWriter.CHUNK_BYTES));

  private HostileStreamTest frame(int type, Consumer<ByteBuffer> body) throws IOException {
    body.accept(out.begin(type, 1000));
    out.end();
    out.flush();
    return this;
  }

  private HostileStreamTest begun() throws IOException {
    out.resetChecksum();
    return frame(LinkFormat.EPOCH_BEGIN, BEGIN);
  }

  /** What has been framed is refused with words that begin so, and leaves no epoch open. */
  private void refused(String words) {
    GuestMemory memory = new GuestMemory(PAGES);
    EpochDecoder decoder =
        new EpochDecoder(EpochCodecTest.channel(bytes.toByteArray(), 1 << 20), PAGES, 5, memory);
    LinkFormatException refused = assertThrows(LinkFormatException.class, decoder::next);
    assertTrue(refused.getMessage().startsWith(words), refused.getMessage());
    assertEquals(List.of(), memory.commits);
    assertFalse(memory.isOpen());
    bytes.reset();
  }

  private HostileStreamTest header(long typeAndReserved, int length) {
    ByteBuffer header = ByteBuffer.allocate(LinkFormat.HEADER_BYTES);
    header.putInt((int) typeAndReserved).putInt(length).putInt(0);
    CRC32C check = new CRC32C();
    check.update(header.array(), 0, 12);
    header.putInt((int) check.getValue());
    bytes.writeBytes(header.array());
    return this;
  }

  @Test
  void lengthsAreRefusedBeforeAnythingIsRead() {
    for (int length : new int[] {LinkFormat.MAX_BODY_BYTES + 1, Integer.MAX_VALUE, -1}) {
      header(0x84000000L, length)
          .refused(
              "body of %d bytes in frame PAGES, expected at most 131056"
                  .formatted(length & 0xFFFFFFFFL));
      header(0x1F000000L, length).refused("body of");
    }
    header(0x84000001L, 0).refused("reserved bytes 0x000001 in a frame header, expected 0");
    header(0, 0).refused("frame type 0x00, its code must not be 0");
    header(0x80000000L, 0).refused("frame type 0x80, its code must not be 0");
  }

  @Test
  void unknownFramesAreRefusedIfMandatoryAndSkippedIfNot() throws IOException {
    frame(0xAB, body -> body.putLong(1).putInt(2))
        .refused("unknown mandatory frame 0xab of 12 bytes");
    begun().frame(0xFF, body -> {}).refused("unknown mandatory frame 0xff of 0 bytes");
    frame(0x2B, body -> body.putLong(1)).begun();
    EpochEncoder encoder = new EpochEncoder(Channels.newChannel(bytes), PAGES);
    frame(LinkFormat.EPOCH_DISCARD, body -> body.putLong(7));
    frame(0x7F, body -> body.put(new byte[900]));
    encoder.begin(7);
    encoder.zeroPage(3);
    encoder.deviceState(ByteBuffer.wrap(new byte[] {1}));
    encoder.commit();
    frame(0x2B, body -> {});
    GuestMemory memory = new GuestMemory(PAGES);
    EpochDecoder decoder =
        new EpochDecoder(EpochCodecTest.channel(bytes.toByteArray(), 9), PAGES, 5, memory);
    assertEquals(EpochDecoder.Step.DISCARDED, decoder.next());
    assertEquals(EpochDecoder.Step.COMMITTED, decoder.next());
    assertEquals(EpochDecoder.Step.END_OF_STREAM, decoder.next());
    assertEquals(List.of(7L), memory.commits);
    assertEquals(List.of(7L), memory.discards);
  }

  @Test
  void framesOutOfPlaceAreRefused() throws IOException {
    frame(LinkFormat.PAGES, body -> {}).refused("PAGES outside an epoch");
    frame(LinkFormat.EPOCH_END, body -> {}).refused("EPOCH_END outside an epoch");
    frame(LinkFormat.EPOCH_DISCARD, body -> {}).refused("EPOCH_DISCARD outside an epoch");
    frame(LinkFormat.HELLO, body -> {}).refused("HELLO, expected EPOCH_BEGIN");
    begun().frame(LinkFormat.EPOCH_BEGIN, BEGIN).refused("EPOCH_BEGIN within epoch 7");
    begun().frame(LinkFormat.COMMITTED, body -> {}).refused("COMMITTED within epoch 7");
    begun().refused("stream ends within epoch 7");
    begun()
        .frame(LinkFormat.DEVICE_STATE, body -> body.putInt(9).putInt(0).putInt(1))
        .frame(LinkFormat.PAGES, body -> {})
        .refused("PAGES within the device state of epoch 7");
  }

  @Test
  void epochsThatDoNotFitAreRefused() throws IOException {
    frame(
            LinkFormat.EPOCH_BEGIN,
            body -> body.putLong(5).putShort((short) 1).putShort((short) 0).putInt(PAGES))
        .refused("epoch 5 begins, expected one after the committed 5");
    frame(
            LinkFormat.EPOCH_BEGIN,
            body -> body.putLong(6).putShort((short) 2).putShort((short) 0).putInt(PAGES))
        .refused("version 2 in EPOCH_BEGIN, expected 1");
    frame(
            LinkFormat.EPOCH_BEGIN,
            body -> body.putLong(6).putShort((short) 1).putShort((short) 0x100).putInt(PAGES))
        .refused("epoch flags 0x0100 are not known, this side knows 0x0000");
    frame(
            LinkFormat.EPOCH_BEGIN,
            body -> body.putLong(6).putShort((short) 1).putShort((short) 0).putInt(PAGES + 1))
        .refused("epoch 6 of a guest with 101 pages, expected 100");
    frame(LinkFormat.EPOCH_BEGIN, body -> body.putLong(-1).putLong(0))
        .refused("epoch of EPOCH_BEGIN is -1, expected at least 0");
    frame(LinkFormat.EPOCH_BEGIN, body -> body.putLong(6).putInt(0))
        .refused("EPOCH_BEGIN ends within its field pages");
    frame(LinkFormat.EPOCH_BEGIN, BEGIN.andThen(body -> body.put((byte) 0)))
        .refused("1 bytes after the last field of EPOCH_BEGIN");
  }

  private HostileStreamTest record(long page, int kind, int value, int contentBytes)
      throws IOException {
    return begun()
        .frame(
            LinkFormat.PAGES,
            body -> {
              body.putShort((short) 1).putInt((int) page).putInt(kind << 24 | value);
              body.put(new byte[contentBytes]);
            });
  }

  @Test
  void pageRecordsThatLieAreRefused() throws IOException {
    begun()
        .frame(LinkFormat.PAGES, body -> body.putShort((short) 0))
        .refused("0 records in PAGES, expected 1 to 256");
    begun()
        .frame(LinkFormat.PAGES, body -> body.putShort((short) -1))
        .refused("65535 records in PAGES, expected 1 to 256");
    record(100, LinkFormat.ZERO, 1, 0).refused("page 100 of a guest with 100 pages");
    record(-1, LinkFormat.ZERO, 1, 0).refused("page 4294967295 of a guest with 100 pages");
    record(1, 0, 1, 0).refused("page kind 0 of page 1");
    record(1, 9, 1, 0).refused("page kind 9 of page 1");
    record(1, LinkFormat.RAW, 4000, 0).refused("RAW page of 4000 bytes, expected 4096");
    record(1, LinkFormat.RAW, 4096, 0).refused("PAGES ends within its field content");
    record(99, LinkFormat.ZERO, 2, 0)
        .refused("2 zero pages from page 99 of a guest with 100 pages");
    record(1, LinkFormat.ZERO, 0, 0).refused("0 zero pages from page 1");
    record(1, LinkFormat.ZERO, 0xFFFFFF, 0).refused("16777215 zero pages from page 1");
    record(1, LinkFormat.LZ4, 0, 0).refused("LZ4 page of 0 bytes, expected 1 to 4095");
    record(1, LinkFormat.LZ4, 4096, 0).refused("LZ4 page of 4096 bytes");
    record(1, LinkFormat.LZ4, 50, 10).refused("PAGES ends within its field content");
    record(1, LinkFormat.LZ4, 50, 50).refused("LZ4 block of page 1 is not 4096 bytes of a page");
    record(1, LinkFormat.ZERO, 1, 3).refused("3 bytes after the last field of PAGES");
  }

  private HostileStreamTest state(long total, long at, int bytes) throws IOException {
    return frame(
        LinkFormat.DEVICE_STATE,
        body -> body.putInt((int) total).putInt((int) at).put(new byte[bytes]));
  }

  @Test
  void deviceStatesThatLieAreRefused() throws IOException {
    begun().state(0, 0, 1).refused("device state of 0 bytes, expected 1 to 67108864");
    begun().state(-1, 0, 1).refused("device state of 4294967295 bytes");
    begun().state(9, 0, 0).refused("DEVICE_STATE ends within its field bytes");
    begun().state(9, 1, 1).refused("device state goes on at 1, expected at 0");
    begun().state(9, 0, 4).state(9, -4, 1).refused("device state goes on at 4294967292");
    begun().state(9, 0, 4).state(10, 4, 1).refused("device state of 10 bytes, was 9");
    begun().state(9, 0, 10).refused("device state of 9 bytes goes on to 10");
    begun().state(2, 0, 2).state(2, 2, 1).refused("a second device state in epoch 7");
  }

  private HostileStreamTest end(long epoch, long pages, long epochBytes, int checksum)
      throws IOException {
    return frame(
        LinkFormat.EPOCH_END,
        body -> body.putLong(epoch).putLong(pages).putLong(epochBytes).putInt(checksum));
  }

  @Test
  void endsThatDoNotAddUpAreRefused() throws IOException {
    begun().end(7, 0, 32, 0).refused("EPOCH_END of epoch 7 without its device state");
    begun().state(2, 0, 1).end(7, 0, 0, 0).refused("EPOCH_END of epoch 7 without its device");
    begun().state(2, 0, 2).end(8, 0, 0, 0).refused("EPOCH_END of epoch 8 within epoch 7");
    begun().state(2, 0, 2).end(7, 1, 0, 0).refused("epoch 7 has 0 pages, its end says 1");
    begun().state(2, 0, 2).end(7, 0, 57, 0).refused("epoch 7 has 58 bytes, its end says 57");
    begun().state(2, 0, 2).end(7, 0, 58, 1).refused("epoch 7 has checksum 0x");
    begun()
        .frame(LinkFormat.EPOCH_DISCARD, body -> body.putLong(8))
        .refused("EPOCH_DISCARD of epoch 8 within epoch 7");
    begun().state(2, 0, 2);
    int checksum = out.checksum();
    end(7, 0, 58, checksum);
    GuestMemory memory = new GuestMemory(PAGES);
    new EpochDecoder(EpochCodecTest.channel(bytes.toByteArray(), 1 << 20), PAGES, 5, memory).next();
    assertEquals(List.of(7L), memory.commits, "the same with the right numbers");
  }

  @Test
  void encoderRefusesWhatItsReaderWould() throws IOException {
    EpochEncoder encoder = new EpochEncoder(Channels.newChannel(bytes), PAGES);
    ByteBuffer page = ByteBuffer.allocate(Pages.SIZE);
    assertThrows(IllegalStateException.class, () -> encoder.page(1, page));
    assertThrows(IllegalStateException.class, () -> encoder.begin(0));
    encoder.begin(1);
    assertThrows(IllegalStateException.class, encoder::commit);
    assertThrows(IndexOutOfBoundsException.class, () -> encoder.page(PAGES, page));
    assertThrows(IndexOutOfBoundsException.class, () -> encoder.zeroPage(-1));
    assertThrows(IllegalArgumentException.class, () -> encoder.page(1, ByteBuffer.allocate(4095)));
    assertThrows(IOException.class, () -> encoder.deviceState(ByteBuffer.allocate(0)));
  }
}
