package org.understudy.ssh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.channels.ClosedChannelException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.zip.CRC32C;
import org.apache.sshd.common.session.Session;
import org.apache.sshd.common.session.SessionListener;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(120)
class PeerStreamTest {
  private static final int MIB = 1 << 20;
  private static final SshSettings REKEY_OFTEN = new SshSettings(Duration.ofSeconds(2), 4 * MIB);

  @TempDir Path folder;

  @Test
  void whatIsWrittenInPiecesOfAnySizeArrivesUnchangedInBothDirections() throws Exception {
    long seed = System.nanoTime();
    System.out.println("seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    try (TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("echo", this::echo));
        PeerConnection connection = hosts.connect()) {
      assertEchoes(connection.openChannel("echo"), random, 40 * MIB);
    }
  }

  @Test
  void newKeysEveryFourMebibytesLoseNothingAndAreNoDeadLink() throws Exception {
    long seed = System.nanoTime();
    System.out.println("seed " + seed);
    try (TwoHosts hosts = new TwoHosts(folder, REKEY_OFTEN, Map.of("echo", this::echo))) {
      AtomicLong exchanges = new AtomicLong();
      hosts.clientOfA.client.addSessionListener(
          new SessionListener() {
            @Override
            public void sessionEvent(Session session, Event event) {
              if (event == Event.KeyEstablished) {
                exchanges.incrementAndGet();
              }
            }
          });
      try (PeerConnection connection = hosts.connect()) {
        long start = System.nanoTime();
        assertEchoes(connection.openChannel("echo"), new SplittableRandom(seed), 60 * MIB);
        System.out.printf(
            "60 MiB echoed with %d key exchanges: %d ms%n",
            exchanges.get(), (System.nanoTime() - start) / 1_000_000);
        assertTrue(connection.isOpen());
        assertTrue(exchanges.get() >= 5, "key exchanges: " + exchanges.get());
      }
    }
  }

  @Test
  void aReaderThatStopsStopsTheWriterWithinTheWindow() throws Exception {
    CountDownLatch release = new CountDownLatch(1);
    AtomicLong read = new AtomicLong();
    CompletableFuture<Long> done = new CompletableFuture<>();
    ChannelService stopped =
        (peer, channel) -> {
          release.await();
          ByteBuffer buffer = ByteBuffer.allocate(MIB);
          while (channel.read(buffer.clear()) >= 0) {
            read.addAndGet(buffer.position());
          }
          done.complete(read.get());
        };
    try (TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("slow", stopped));
        PeerConnection connection = hosts.connect()) {
      ByteChannel channel = connection.openChannel("slow");
      AtomicLong written = new AtomicLong();
      long total = 64L * MIB;
      CompletableFuture<Void> writer =
          CompletableFuture.runAsync(
              () -> {
                try {
                  ByteBuffer piece = ByteBuffer.allocateDirect(100_000);
                  while (written.get() < total) {
                    piece.clear().limit((int) Math.min(100_000, total - written.get()));
                    written.addAndGet(channel.write(piece));
                  }
                  channel.close();
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              });
      long stuckAt = awaitStandstill(written);
      assertFalse(writer.isDone());
      assertTrue(stuckAt <= SshSettings.BULK_WINDOW_BYTES, "written without a reader: " + stuckAt);
      assertTrue(stuckAt >= SshSettings.BULK_WINDOW_BYTES / 2, "written: " + stuckAt);
      release.countDown();
      assertEquals(total, done.get(30, TimeUnit.SECONDS));
      writer.get(30, TimeUnit.SECONDS);
    }
  }

  @Test
  void aStreamClosedByThePeerEndsAfterItsLastByteForReadersAndFailsForWriters() throws Exception {
    ChannelService farewell = (peer, channel) -> channel.write(ByteBuffer.wrap(new byte[] {1, 2}));
    try (TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("bye", farewell));
        PeerConnection connection = hosts.connect();
        ByteChannel channel = connection.openChannel("bye")) {
      ByteBuffer buffer = ByteBuffer.allocate(10);
      while (channel.read(buffer) >= 0) {}
      assertEquals(2, buffer.position());
      IOException e =
          assertThrows(
              IOException.class,
              () -> {
                while (true) {
                  channel.write(ByteBuffer.allocate(1000));
                }
              });
      assertTrue(e.getMessage().contains("'bye' to b"), e.getMessage());
      assertTrue(connection.isOpen());
    }
  }

  @Test
  void aConnectionThatBreaksIsAnErrorForReadersOnBothSidesNotAnEnd() throws Exception {
    CompletableFuture<Throwable> atServer = new CompletableFuture<>();
    CountDownLatch serving = new CountDownLatch(1);
    ChannelService waiting =
        (peer, channel) -> {
          serving.countDown();
          try {
            int count = channel.read(ByteBuffer.allocate(10));
            atServer.complete(new AssertionError("read returned " + count));
          } catch (IOException e) {
            atServer.complete(e);
          }
        };
    TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("wait", waiting));
    try (hosts;
        PeerConnection connection = hosts.connect();
        ByteChannel channel = connection.openChannel("wait")) {
      serving.await();
      CountDownLatch noticed = new CountDownLatch(1);
      connection.onClose(noticed::countDown);
      hosts.serverOfB.close();
      IOException e = assertThrows(IOException.class, () -> channel.read(ByteBuffer.allocate(10)));
      assertTrue(e.getMessage().contains("broke"), e.getMessage());
      assertTrue(noticed.await(10, TimeUnit.SECONDS));
      assertFalse(connection.isOpen());
      assertTrue(atServer.get(10, TimeUnit.SECONDS).getMessage().contains("broke"));
    }
  }

  @Test
  void closingAStreamFreesItsBlockedReader() throws Exception {
    try (TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("echo", this::echo));
        PeerConnection connection = hosts.connect()) {
      ByteChannel channel = connection.openChannel("echo");
      CompletableFuture<Throwable> reader = new CompletableFuture<>();
      Thread thread =
          new Thread(
              () -> {
                try {
                  channel.read(ByteBuffer.allocate(1));
                } catch (IOException e) {
                  reader.complete(e);
                }
              });
      thread.start();
      while (thread.getState() != Thread.State.WAITING) {
        Thread.onSpinWait();
      }
      channel.close();
      assertTrue(reader.get(10, TimeUnit.SECONDS) instanceof ClosedChannelException);
      assertThrows(IOException.class, () -> channel.write(ByteBuffer.allocate(1)));
    }
  }

  @Test
  void onlyRegisteredStreamsCanBeOpened() throws Exception {
    try (TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("echo", this::echo));
        PeerConnection connection = hosts.connect()) {
      IOException e = assertThrows(IOException.class, () -> connection.openChannel("shell"));
      assertTrue(e.getMessage().contains("did not open the stream 'shell'"), e.getMessage());
      assertTrue(e.getMessage().contains("Unsupported channel type"), e.getMessage());
      assertTrue(connection.isOpen());
    }
  }

  @Test
  void throughputIsPrinted() throws Exception {
    long total = 128L * MIB;
    ChannelService sink =
        (peer, channel) -> {
          drain(channel, total);
          channel.write(ByteBuffer.allocate(1));
        };
    ChannelService source = (peer, channel) -> fill(channel, total);
    try (TwoHosts hosts =
            new TwoHosts(folder, SshSettings.DEFAULT, Map.of("sink", sink, "source", source));
        PeerConnection connection = hosts.connect()) {
      for (int round = 0; round < 2; round++) {
        long start = System.nanoTime();
        try (ByteChannel channel = connection.openChannel("sink")) {
          fill(channel, total);
          assertEquals(1, channel.read(ByteBuffer.allocate(1)));
        }
        print("client to server", total, start);
        start = System.nanoTime();
        try (ByteChannel channel = connection.openChannel("source")) {
          drain(channel, total);
        }
        print("server to client", total, start);
      }
    }
  }

  private void echo(String peer, ByteChannel channel) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(70_000);
    while (channel.read(buffer.clear()) >= 0) {
      channel.write(buffer.flip());
    }
  }

  private static void assertEchoes(ByteChannel channel, SplittableRandom random, int total)
      throws Exception {
    CRC32C sent = new CRC32C();
    SplittableRandom readerRandom = random.split();
    CompletableFuture<Void> writer =
        CompletableFuture.runAsync(
            () -> {
              try {
                for (int left = total; left > 0; ) {
                  byte[] piece = new byte[Math.min(left, 1 + random.nextInt(300_000))];
                  random.nextBytes(piece);
                  sent.update(piece);
                  ByteBuffer buffer = ByteBuffer.wrap(piece);
                  while (buffer.hasRemaining()) {
                    channel.write(buffer);
                  }
                  left -= piece.length;
                }
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              }
            });
    CRC32C received = new CRC32C();
    int count = 0;
    while (count < total) {
      ByteBuffer buffer = ByteBuffer.allocate(1 + readerRandom.nextInt(200_000));
      assertTrue(channel.read(buffer) > 0);
      received.update(buffer.flip());
      count += buffer.limit();
    }
    writer.get(30, TimeUnit.SECONDS);
    assertEquals(total, count);
    assertEquals(sent.getValue(), received.getValue());
    channel.close();
  }

  private static void fill(ByteChannel channel, long total) throws IOException {
    ByteBuffer piece = ByteBuffer.allocateDirect(MIB);
    for (long left = total; left > 0; left -= MIB) {
      channel.write(piece.clear());
    }
  }

  private static void drain(ByteChannel channel, long total) throws IOException {
    ByteBuffer piece = ByteBuffer.allocateDirect(MIB);
    for (long left = total; left > 0; ) {
      int count = channel.read(piece.clear());
      assertTrue(count > 0);
      left -= count;
    }
  }

  private static void print(String direction, long total, long startNs) {
    double seconds = (System.nanoTime() - startNs) / 1e9;
    System.out.printf("ssh %s: %.0f MB/s%n", direction, total / 1e6 / seconds);
  }

  /** The count once it has not moved for two seconds. */
  private static long awaitStandstill(AtomicLong count) throws InterruptedException {
    CountDownLatch never = new CountDownLatch(1);
    long last;
    do {
      last = count.get();
      never.await(1, TimeUnit.SECONDS);
    } while (last == 0 || count.get() != last);
    return last;
  }
}
