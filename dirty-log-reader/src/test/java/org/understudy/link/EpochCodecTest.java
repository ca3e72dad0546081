package org.understudy.link;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.guest.EpochSink;
import org.understudy.guest.Pages;
import org.understudy.link.EpochDecoder.Step;

class EpochCodecTest {
  private static final int PAGES = 700;

  @TempDir Path folder;

  private static SplittableRandom seeded(String test) {
    long seed = System.nanoTime();
    System.out.println("EpochCodecTest." + test + " seed " + seed);
    return new SplittableRandom(seed);
  }

  /** Gives at most {@code atOnce} bytes a read. */
  static ReadableByteChannel channel(byte[] bytes, int atOnce) {
    ByteBuffer source = ByteBuffer.wrap(bytes);
    return new ReadableByteChannel() {
      @Override
      public int read(ByteBuffer into) {
        if (!source.hasRemaining()) {
          return -1;
        }
        int count = Math.min(Math.min(atOnce, source.remaining()), into.remaining());
        into.put(source.slice(source.position(), count));
        source.position(source.position() + count);
        return count;
      }

      @Override
      public boolean isOpen() {
        return true;
      }

      @Override
      public void close() {}
    };
  }

  private static Step decode(byte[] stream, int atOnce, GuestMemory into) throws IOException {
    EpochDecoder decoder = new EpochDecoder(channel(stream, atOnce), into.pages(), 0, into);
    Step step = decoder.next();
    while (step != Step.END_OF_STREAM) {
      assertFalse(into.isOpen());
      step = decoder.next();
    }
    return step;
  }

  /** The frames of epochs 1 to {@code epochs}, which {@code expected} takes as well. */
  private static byte[] stream(
      SplittableRandom random, int epochs, int steps, int maxState, GuestMemory expected)
      throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    EpochEncoder encoder = new EpochEncoder(Channels.newChannel(bytes), expected.pages());
    for (int epoch = 1; epoch <= epochs; epoch++) {
      encoder.begin(epoch);
      expected.begin(epoch);
      GuestMemory.fill(random, expected.pages(), steps, maxState, encoder, expected);
      encoder.commit();
      expected.commit();
    }
    return bytes.toByteArray();
  }

  @Test
  void epochsOfFileEqualWhatWasWritten() throws IOException {
    SplittableRandom random = seeded("epochsOfFile");
    for (EpochEncoder.Compression compression : EpochEncoder.Compression.values()) {
      GuestMemory expected = new GuestMemory(PAGES);
      Path file = folder.resolve(compression + ".epochs");
      try (FileChannel out =
          FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        EpochEncoder encoder = new EpochEncoder(out, PAGES, compression);
        for (int epoch = 1; epoch <= 12; epoch++) {
          if (random.nextInt(3) == 0) {
            encoder.begin(epoch);
            GuestMemory.fill(random, PAGES, random.nextInt(300), 400_000, encoder);
            encoder.discard();
          }
          encoder.begin(epoch);
          expected.begin(epoch);
          GuestMemory.fill(random, PAGES, random.nextInt(900), 400_000, encoder, expected);
          encoder.commit();
          expected.commit();
        }
      }
      GuestMemory memory = new GuestMemory(PAGES);
      try (FileChannel in = FileChannel.open(file)) {
        EpochDecoder decoder = new EpochDecoder(in, PAGES, 0, memory);
        while (decoder.next() != Step.END_OF_STREAM) {
          assertFalse(memory.isOpen());
        }
        assertEquals(12, decoder.committedEpoch());
      }
      assertEquals(expected.commits, memory.commits);
      memory.assertSameAs(expected);
    }
  }

  @Test
  void oneByteAtOnceGivesTheSameEpoch() throws IOException {
    SplittableRandom random = seeded("oneByteAtOnce");
    GuestMemory expected = new GuestMemory(PAGES);
    byte[] stream = stream(random, 3, 200, 300_000, expected);
    for (int atOnce : new int[] {1, 7, 4096, 1 << 20}) {
      GuestMemory memory = new GuestMemory(PAGES);
      decode(stream, atOnce, memory);
      assertEquals(List.of(1L, 2L, 3L), memory.commits);
      memory.assertSameAs(expected);
    }
  }

  @Test
  void streamCutAtAnyByteCommitsOnlyWholeEpochs() throws IOException {
    SplittableRandom random = seeded("cut");
    GuestMemory expected = new GuestMemory(40);
    byte[] first = stream(random, 1, 2, 200, expected);
    byte[] both = concat(first, stream(random, 1, 1, 100, expected));
    both = renumbered(both, first.length);
    for (int length = 0; length < both.length; length++) {
      GuestMemory memory = new GuestMemory(40);
      byte[] cut = Arrays.copyOf(both, length);
      if (length == 0 || length == first.length) {
        decode(cut, 1 << 20, memory);
      } else {
        LinkFormatException refused =
            assertThrows(LinkFormatException.class, () -> decode(cut, 1 << 20, memory));
        assertTrue(refused.getMessage().startsWith("stream ends"), refused.getMessage());
      }
      assertEquals(length < first.length ? List.of() : List.of(1L), memory.commits);
      assertFalse(memory.isOpen(), "not discarded when cut at " + length);
    }
  }

  /** The same stream with the epoch that begins at {@code at} written again as epoch 2. */
  private static byte[] renumbered(byte[] stream, int at) throws IOException {
    GuestMemory first = new GuestMemory(40);
    decode(Arrays.copyOf(stream, at), 1 << 20, first);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    bytes.write(stream, 0, at);
    EpochEncoder encoder = new EpochEncoder(Channels.newChannel(bytes), 40);
    new EpochDecoder(
            channel(Arrays.copyOfRange(stream, at, stream.length), 1 << 20),
            40,
            0,
            new Renumbering(encoder))
        .next();
    return bytes.toByteArray();
  }

  private record Renumbering(EpochSink sink) implements EpochSink {
    @Override
    public void begin(long epoch) throws IOException {
      sink.begin(epoch + 1);
    }

    @Override
    public void page(int page, ByteBuffer content) throws IOException {
      sink.page(page, content);
    }

    @Override
    public void zeroPage(int page) throws IOException {
      sink.zeroPage(page);
    }

    @Override
    public void deviceState(ByteBuffer state) throws IOException {
      sink.deviceState(state);
    }

    @Override
    public void commit() throws IOException {
      sink.commit();
    }

    @Override
    public void discard() throws IOException {
      sink.discard();
    }
  }

  @Test
  void everyFlippedBitIsRefused() throws IOException {
    SplittableRandom random = seeded("flippedBit");
    byte[] stream = stream(random, 1, 30, 5000, new GuestMemory(PAGES));
    for (int i = 0; i < 2000; i++) {
      byte[] damaged = stream.clone();
      int at = i < stream.length && i < 700 ? i : random.nextInt(stream.length);
      damaged[at] ^= (byte) (1 << random.nextInt(8));
      GuestMemory memory = new GuestMemory(PAGES);
      assertThrows(
          LinkFormatException.class, () -> decode(damaged, 1 << 20, memory), "flip at " + at);
      assertEquals(List.of(), memory.commits);
      assertFalse(memory.isOpen());
    }
  }

  @Test
  void framesLostRepeatedOrSwappedNeverMakeAnEpoch() throws IOException {
    SplittableRandom random = seeded("frames");
    GuestMemory expected = new GuestMemory(PAGES);
    byte[] stream = stream(random, 1, 600, 300_000, expected);
    List<byte[]> frames = frames(stream);
    assertTrue(frames.size() > 8, "only " + frames.size() + " frames");
    for (int i = 0; i < 300; i++) {
      List<byte[]> changed = new java.util.ArrayList<>(frames);
      int at = random.nextInt(frames.size());
      int other = random.nextInt(frames.size());
      switch (random.nextInt(3)) {
        case 0 -> changed.remove(at);
        case 1 -> changed.add(other, frames.get(at));
        default -> java.util.Collections.swap(changed, at, other);
      }
      byte[] bytes = concat(changed.toArray(new byte[0][]));
      GuestMemory memory = new GuestMemory(PAGES);
      if (Arrays.equals(bytes, stream)) {
        decode(bytes, 1 << 20, memory);
      } else {
        assertThrows(LinkFormatException.class, () -> decode(bytes, 1 << 20, memory));
      }
      if (!memory.commits.isEmpty()) { // what is wrong came after the end of the epoch
        memory.assertSameAs(expected);
      }
      assertFalse(memory.isOpen());
    }
  }

  private static List<byte[]> frames(byte[] stream) {
    List<byte[]> frames = new java.util.ArrayList<>();
    for (int at = 0; at < stream.length; ) {
      int length = LinkFormat.HEADER_BYTES + ByteBuffer.wrap(stream).getInt(at + 4);
      frames.add(Arrays.copyOfRange(stream, at, at + length));
      at += length;
    }
    return frames;
  }

  static byte[] concat(byte[]... parts) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      all.writeBytes(part);
    }
    return all.toByteArray();
  }

  @Test
  void randomFramesWithRightChecksAreRefusedOrSkipped() throws IOException {
    SplittableRandom random = seeded("randomFrames");
    for (int i = 0; i < 4000; i++) {
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      FrameWriter out =
          new FrameWriter(FrameWriter.to(Channels.newChannel(bytes), FrameWriter.CHUNK_BYTES));
      if (random.nextBoolean()) {
        out.begin(LinkFormat.EPOCH_BEGIN, 16)
            .putLong(1)
            .putShort((short) 1)
            .putShort((short) 0)
            .putInt(PAGES);
        out.end();
      }
      for (int frame = 0; frame < 3; frame++) {
        int type =
            random.nextInt(4) == 0
                ? 1 + random.nextInt(255)
                : LinkFormat.EPOCH_BEGIN + random.nextInt(5);
        byte[] body = new byte[random.nextInt(60)];
        for (int at = 0; at < body.length; at++) {
          // Small numbers get further than random ones.
          body[at] = (byte) (random.nextInt(3) == 0 ? random.nextInt(256) : random.nextInt(4));
        }
        out.begin(type, body.length).put(body);
        out.end();
      }
      out.flush();
      GuestMemory memory = new GuestMemory(PAGES);
      try {
        decode(bytes.toByteArray(), 1 << 20, memory);
      } catch (LinkFormatException e) {
        assertTrue(e.offset() >= 0 && e.offset() <= bytes.size(), e.getMessage());
      }
      assertEquals(List.of(), memory.commits);
      assertFalse(memory.isOpen());
    }
  }

  @Test
  void pagesAreEncodedAndDecodedWithoutAllocation() throws IOException {
    var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    SplittableRandom random = seeded("allocation");
    ByteBuffer noise = ByteBuffer.allocateDirect(Pages.SIZE);
    ByteBuffer text = ByteBuffer.allocateDirect(Pages.SIZE);
    for (int i = 0; i < Pages.SIZE; i++) {
      noise.put(i, (byte) random.nextInt(256));
      text.put(i, (byte) "the guest's page ".charAt(i % 17));
    }
    Path file = folder.resolve("epochs");
    Counting seen = new Counting();
    long encoding = Long.MAX_VALUE;
    long decoding = Long.MAX_VALUE;
    int count = 20_000;
    try (FileChannel channel =
        FileChannel.open(
            file,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.WRITE,
            StandardOpenOption.READ)) {
      EpochEncoder encoder = new EpochEncoder(channel, count);
      EpochDecoder decoder = new EpochDecoder(channel, count, 0, seen);
      for (int epoch = 1; epoch <= 5; epoch++) {
        long start = channel.position();
        long before = threads.getCurrentThreadAllocatedBytes();
        encoder.begin(epoch);
        for (int page = 0; page < count; page += 4) {
          encoder.page(page, noise);
          encoder.page(page + 1, text);
          encoder.page(page + 2, text);
          encoder.zeroPage(page + 3);
        }
        encoder.deviceState(text);
        encoder.commit();
        encoding = Math.min(encoding, threads.getCurrentThreadAllocatedBytes() - before);
        long end = channel.position();
        channel.position(start);
        before = threads.getCurrentThreadAllocatedBytes();
        assertEquals(Step.COMMITTED, decoder.next());
        decoding = Math.min(decoding, threads.getCurrentThreadAllocatedBytes() - before);
        channel.position(end);
      }
    }
    System.out.printf(
        "allocated for %d pages: %d bytes encoding, %d decoding%n", count, encoding, decoding);
    assertEquals(5L * count, seen.pages + seen.zeroPages);
    assertTrue(encoding < count, encoding + " bytes allocated for encoding " + count + " pages");
    assertTrue(decoding < count, decoding + " bytes allocated for decoding " + count + " pages");
  }

  private static final class Counting implements EpochSink {
    private long pages;
    private long zeroPages;

    @Override
    public void begin(long epoch) {}

    @Override
    public void page(int page, ByteBuffer content) {
      pages++;
    }

    @Override
    public void zeroPage(int page) {
      zeroPages++;
    }

    @Override
    public void deviceState(ByteBuffer state) {}

    @Override
    public void commit() {}

    @Override
    public void discard() {}
  }
}
