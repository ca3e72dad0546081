package org.understudy.link;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.Pages;
import org.understudy.guest.RamBlock;

class LinkTest {
  private static final GuestLayout LAYOUT =
      new GuestLayout(List.of(new RamBlock("pc.ram", 400 * 4096), new RamBlock("vga.vram", 4096)));
  private static final Hello HELLO =
      new Hello(UUID.randomUUID(), UUID.randomUUID(), "redis", 7, 3, "pc-q35-7.2", LAYOUT);

  @TempDir Path folder;

  /** A guest's memory that takes epochs, whole or not at all. */
  private static final class Image implements EpochSink, LinkReceiver.Followed {
    final byte[][] committed = new byte[LAYOUT.pages()][];
    private byte[][] running;
    private byte[] state;
    byte[] committedState = {};
    long epoch;
    private long begun;
    boolean full;
    Goodbye goodbye;
    final List<Long> commits = new ArrayList<>();

    @Override
    public void begin(long number) {
      begun = number;
      running = committed.clone();
    }

    @Override
    public void page(int page, ByteBuffer content) throws IOException {
      if (full) {
        throw new IOException("no space left");
      }
      running[page] = new byte[Pages.SIZE];
      content.get(running[page]);
    }

    @Override
    public void zeroPage(int page) {
      running[page] = null;
    }

    @Override
    public void deviceState(ByteBuffer content) {
      state = new byte[content.remaining()];
      content.get(state);
    }

    @Override
    public void commit() {
      System.arraycopy(running, 0, committed, 0, committed.length);
      committedState = state;
      epoch = begun;
      commits.add(epoch);
      running = null;
    }

    @Override
    public void discard() {
      running = null;
    }

    @Override
    public long committedEpoch() {
      return epoch;
    }

    @Override
    public EpochSink sink() {
      return this;
    }

    @Override
    public void goodbye(Goodbye reason, String sentence) {
      goodbye = reason;
    }
  }

  /** Two connected ends of a real UNIX socket. */
  private ByteChannel[] pair() throws IOException {
    Path path = folder.resolve("s" + System.nanoTime());
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(path));
      SocketChannel client = SocketChannel.open(UnixDomainSocketAddress.of(path));
      return new ByteChannel[] {client, server.accept()};
    }
  }

  private static CompletableFuture<Void> serve(ByteChannel channel, Image image) {
    return CompletableFuture.runAsync(
        () -> {
          try (channel) {
            new LinkReceiver(channel, 20, System::nanoTime).serve((hello, receiver) -> image);
          } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
          }
        });
  }

  private static SplittableRandom seeded(String test) {
    long seed = System.nanoTime();
    System.out.println("LinkTest." + test + " seed " + seed);
    return new SplittableRandom(seed);
  }

  /** Writes a random epoch to the sink and to the expected memory. */
  private static byte[] randomEpoch(
      SplittableRandom random, long number, EpochSink sink, byte[][] expected) throws IOException {
    sink.begin(number);
    ByteBuffer content = ByteBuffer.allocateDirect(Pages.SIZE);
    int changes = random.nextInt(600);
    for (int i = 0; i < changes; i++) {
      int page = random.nextInt(LAYOUT.pages());
      byte[] bytes = new byte[Pages.SIZE];
      switch (random.nextInt(3)) {
        case 0 -> {
          for (int run = page; run < Math.min(LAYOUT.pages(), page + 5); run++) {
            sink.zeroPage(run);
            expected[run] = null;
          }
          continue;
        }
        case 1 -> random.nextBytes(bytes);
        default -> bytes[random.nextInt(Pages.SIZE)] = (byte) (1 + random.nextInt(100));
      }
      content.clear().put(bytes).flip();
      sink.page(page, content);
      expected[page] = bytes;
    }
    byte[] state = new byte[1 + random.nextInt(700_000)];
    random.nextBytes(state);
    sink.deviceState(ByteBuffer.wrap(state));
    return state;
  }

  @Test
  void epochsArriveBitIdenticalAndAreAcknowledged() throws Exception {
    SplittableRandom random = seeded("epochsArriveBitIdentical");
    ByteChannel[] ends = pair();
    Image image = new Image();
    CompletableFuture<Void> standby = serve(ends[1], image);
    byte[][] expected = new byte[LAYOUT.pages()][];
    try (LinkSender sender = new LinkSender(ends[0], HELLO, 20, System::nanoTime)) {
      assertEquals(0, sender.standbyEpoch());
      for (long epoch = 1; epoch <= 30; epoch++) {
        byte[] state = randomEpoch(random, epoch, sender.sink(), expected);
        if (random.nextInt(4) == 0) {
          sender.sink().discard();
          sender.sink().begin(epoch);
          for (int page = 0;
              page < expected.length;
              page++) { // what the discarded one would have changed
            if (expected[page] == null) {
              sender.sink().zeroPage(page);
            } else {
              sender.sink().page(page, ByteBuffer.wrap(expected[page]));
            }
          }
          sender.sink().deviceState(ByteBuffer.wrap(state));
        }
        sender.sink().commit();
        assertTrue(sender.awaitAcknowledged(epoch, 10_000));
        assertArrayEquals(state, image.committedState);
        for (int page = 0; page < expected.length; page++) {
          assertArrayEquals(expected[page], image.committed[page], "page " + page);
        }
      }
      sender.goodbye(Goodbye.SWITCHOVER, "planned");
      assertTrue(sender.silentMs() < 10_000);
      assertTrue(sender.wireBytes() > 0 && sender.rawBytes() > 0);
    }
    standby.get(10, TimeUnit.SECONDS);
    assertEquals(Goodbye.SWITCHOVER, image.goodbye);
  }

  @Test
  void fullDiskFailsTheEpochAndNotTheLink() throws Exception {
    ByteChannel[] ends = pair();
    Image image = new Image();
    CompletableFuture<Void> standby = serve(ends[1], image);
    byte[][] expected = new byte[LAYOUT.pages()][];
    SplittableRandom random = seeded("fullDisk");
    try (LinkSender sender = new LinkSender(ends[0], HELLO, 20, System::nanoTime)) {
      image.full = true;
      sender.sink().begin(1);
      sender.sink().page(3, ByteBuffer.allocateDirect(Pages.SIZE).put(0, (byte) 1));
      sender.sink().deviceState(ByteBuffer.wrap(new byte[] {1}));
      sender.sink().commit();
      IOException refused =
          assertThrows(IOException.class, () -> sender.awaitAcknowledged(1, 10_000));
      assertTrue(refused.getMessage().contains("no space left"), refused.getMessage());
      image.full = false;
      randomEpoch(random, 2, sender.sink(), expected);
      sender.sink().commit();
      assertTrue(sender.awaitAcknowledged(2, 10_000));
    }
    standby.get(10, TimeUnit.SECONDS);
    assertEquals(List.of(2L), image.commits);
  }

  @Test
  void refusalReachesThePrimaryAsASentence() throws Exception {
    ByteChannel[] ends = pair();
    CompletableFuture<Void> standby =
        CompletableFuture.runAsync(
            () -> {
              try {
                new LinkReceiver(ends[1], 20, System::nanoTime)
                    .serve(
                        (hello, receiver) -> {
                          throw new IOException("no such guest: " + hello.name());
                        });
              } catch (IOException e) {
                // the refusal itself
              }
            });
    IOException refused =
        assertThrows(IOException.class, () -> new LinkSender(ends[0], HELLO, 20, System::nanoTime));
    assertTrue(refused.getMessage().contains("no such guest: redis"), refused.getMessage());
    standby.get(10, TimeUnit.SECONDS);
  }

  /**
   * A stream in memory: reads what was recorded, a few bytes at a time; swallows what is written.
   */
  private static final class Recorded implements ByteChannel {
    final ByteBuffer bytes;
    private final int atOnce;

    Recorded(byte[] bytes, int atOnce) {
      this.bytes = ByteBuffer.wrap(bytes);
      this.atOnce = atOnce;
    }

    @Override
    public int read(ByteBuffer into) {
      if (!bytes.hasRemaining()) {
        return -1;
      }
      int count = Math.min(Math.min(atOnce, bytes.remaining()), into.remaining());
      into.put(bytes.slice(bytes.position(), count));
      bytes.position(bytes.position() + count);
      return count;
    }

    @Override
    public int write(ByteBuffer from) {
      int count = from.remaining();
      from.position(from.limit());
      return count;
    }

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }

  /** What a primary writes for one epoch, and the memory that it describes. */
  private static byte[] recording(SplittableRandom random, byte[][] expected) throws IOException {
    java.io.ByteArrayOutputStream bytes = new java.io.ByteArrayOutputStream();
    FrameWriter out = new FrameWriter(java.nio.channels.Channels.newChannel(bytes));
    ByteBuffer hello = ByteBuffer.allocate(100_000);
    HELLO.writeTo(hello);
    out.frame(LinkFormat.HELLO, hello.flip(), null);
    out.frame(LinkFormat.OPTIONAL | 77, ByteBuffer.wrap(new byte[] {1, 2, 3}), null);
    EpochEncoder encoder = new EpochEncoder(out);
    randomEpoch(random, 1, encoder, expected);
    encoder.commit();
    return bytes.toByteArray();
  }

  private static Image receive(byte[] stream, int atOnce) {
    Image image = new Image();
    try {
      new LinkReceiver(new Recorded(stream, atOnce), 1000, System::nanoTime)
          .serve((hello, receiver) -> image);
    } catch (IOException e) {
      // What a hostile or broken stream has to end in; anything else fails the test.
    }
    return image;
  }

  @Test
  void smallestReadsGiveTheSameEpoch() throws Exception {
    byte[][] expected = new byte[LAYOUT.pages()][];
    byte[] stream = recording(seeded("smallestReads"), expected);
    for (int atOnce : new int[] {1, 3, 4096, 1 << 20}) {
      Image image = receive(stream, atOnce);
      assertEquals(List.of(1L), image.commits);
      for (int page = 0; page < expected.length; page++) {
        assertArrayEquals(expected[page], image.committed[page], "page " + page);
      }
    }
  }

  @Test
  void truncatedStreamCommitsNothing() throws Exception {
    SplittableRandom random = seeded("truncated");
    byte[] stream = recording(random, new byte[LAYOUT.pages()][]);
    for (int i = 0; i < 400; i++) {
      int length = i < 200 ? i : random.nextInt(stream.length);
      assertTrue(receive(java.util.Arrays.copyOf(stream, length), 1 << 20).commits.isEmpty());
    }
  }

  @Test
  void damagedStreamNeverCommitsAWrongEpoch() throws Exception {
    SplittableRandom random = seeded("damaged");
    byte[][] expected = new byte[LAYOUT.pages()][];
    byte[] stream = recording(random, expected);
    int committed = 0;
    for (int i = 0; i < 600; i++) {
      byte[] damaged = stream.clone();
      int at = i % 3 == 0 ? random.nextInt(600) : random.nextInt(stream.length);
      damaged[at] ^= (byte) (1 << random.nextInt(8));
      Image image = receive(damaged, 1 << 20);
      if (!image.commits.isEmpty()) { // damage in the hello's names, or in a frame that is skipped
        committed++;
        for (int page = 0; page < expected.length; page++) {
          assertArrayEquals(expected[page], image.committed[page], "damage at " + at);
        }
      }
    }
    assertTrue(committed < 200, committed + " of 600 damaged streams committed");
  }

  @Test
  void unknownMandatoryFrameIsRefused() throws Exception {
    java.io.ByteArrayOutputStream bytes = new java.io.ByteArrayOutputStream();
    FrameWriter out = new FrameWriter(java.nio.channels.Channels.newChannel(bytes));
    ByteBuffer hello = ByteBuffer.allocate(100_000);
    HELLO.writeTo(hello);
    out.frame(LinkFormat.HELLO, hello.flip(), null);
    out.frame(77, ByteBuffer.wrap(new byte[] {1, 2, 3}), null);
    out.flush();
    IOException refused =
        assertThrows(
            LinkFormatException.class,
            () ->
                new LinkReceiver(new Recorded(bytes.toByteArray(), 1 << 20), 1000, System::nanoTime)
                    .serve((hello2, receiver) -> new Image()));
    assertTrue(refused.getMessage().contains("type 77"), refused.getMessage());
  }

  @Test
  void nothingIsAllocatedForAPage() throws Exception {
    var threads =
        (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
    EpochEncoder encoder = new EpochEncoder(new FrameWriter(new Recorded(new byte[0], 1)));
    ByteBuffer content = ByteBuffer.allocateDirect(Pages.SIZE).put(100, (byte) 1);
    long best = Long.MAX_VALUE;
    for (int round = 1; round < 6; round++) {
      encoder.begin(round);
      long before = threads.getCurrentThreadAllocatedBytes();
      for (int page = 0; page < 20_000; page++) {
        encoder.page(page, content.position(0));
      }
      best = Math.min(best, threads.getCurrentThreadAllocatedBytes() - before);
      encoder.deviceState(ByteBuffer.wrap(new byte[] {1}));
      encoder.commit();
    }
    assertTrue(best < 20_000, best + " bytes allocated for 20,000 pages");
    assertFalse(best < 0);
  }
}
