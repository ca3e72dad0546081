package org.understudy.link;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.LongSupplier;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.RamBlock;

/** A standby at the other end of a real UNIX socket that can be made to refuse, stall and fail. */
final class TestStandby implements LinkReceiver.Followed, EpochSink, AutoCloseable {
  static final GuestLayout LAYOUT =
      new GuestLayout(List.of(new RamBlock("pc.ram", 400 * 4096), new RamBlock("vga.vram", 4096)));
  static final int PAGES = LAYOUT.pages();
  static final Hello HELLO =
      new Hello(UUID.randomUUID(), UUID.randomUUID(), "redis", 7, 0, "pc-q35-7.2", LAYOUT);

  final GuestMemory memory = new GuestMemory(PAGES);
  volatile LinkReceiver receiver;
  volatile String refusal;
  volatile CountDownLatch accepting; // waited for before the answer to hello
  volatile CountDownLatch stall; // waited for in begin
  volatile CountDownLatch slowCommit; // waited for in commit
  volatile long failsAt; // the epoch that fails at its first page
  volatile Goodbye goodbye;
  private volatile long epoch;
  private Thread serving;

  /** Two connected ends. */
  static ByteChannel[] pair() throws IOException {
    Path folder = Files.createTempDirectory("link");
    Path path = folder.resolve("s");
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(path));
      SocketChannel client = SocketChannel.open(UnixDomainSocketAddress.of(path));
      return new ByteChannel[] {client, server.accept()};
    } finally {
      Files.deleteIfExists(path);
      Files.delete(folder);
    }
  }

  LinkSender connect(long heartbeatMs) throws IOException {
    return connect(LinkSettings.DEFAULT.withHeartbeatMs(heartbeatMs));
  }

  LinkSender connect(LinkSettings settings) throws IOException {
    return connect(settings, System::nanoTime);
  }

  @SuppressWarnings("try") // the channel is the receiver's, closed with its thread
  LinkSender connect(LinkSettings settings, LongSupplier clockNs) throws IOException {
    ByteChannel[] ends = pair();
    receiver = new LinkReceiver(ends[1], settings.heartbeatMs(), System::nanoTime);
    serving =
        new Thread(
            () -> {
              try (ByteChannel channel = ends[1]) {
                receiver.serve((hello, by) -> accept(hello));
              } catch (IOException e) {
                // How links end in these tests; what the memory then holds is looked at.
              }
            },
            "standby");
    serving.start();
    return new LinkSender(ends[0], HELLO, settings, clockNs);
  }

  private LinkReceiver.Followed accept(Hello hello) throws IOException {
    pass(accepting);
    if (refusal != null || !hello.equals(HELLO)) {
      throw new IOException(refusal);
    }
    return this;
  }

  /** Returns when the conversation is over. */
  void awaitEnd() throws InterruptedException {
    serving.join(TimeUnit.SECONDS.toMillis(30));
    if (serving.isAlive()) {
      throw new AssertionError("the standby still serves");
    }
  }

  /** Waits for a condition for at most 30 s. */
  static void await(BooleanSupplier condition, String what) {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadline) {
        throw new AssertionError("waited 30 s for " + what);
      }
      LockSupport.parkNanos(200_000);
    }
  }

  private static void pass(CountDownLatch latch) throws IOException {
    try {
      if (latch != null && !latch.await(30, TimeUnit.SECONDS)) {
        throw new IOException("stalled for 30 s");
      }
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
  }

  @Override
  public long committedEpoch() {
    return memory.commits.isEmpty() ? 0 : memory.commits.get(memory.commits.size() - 1);
  }

  @Override
  public EpochSink sink() {
    return this;
  }

  @Override
  public void goodbye(Goodbye reason, String sentence) {
    goodbye = reason;
  }

  @Override
  public void begin(long number) throws IOException {
    epoch = number;
    memory.begin(number);
    pass(stall);
  }

  @Override
  public void page(int page, ByteBuffer content) throws IOException {
    fail();
    memory.page(page, content);
  }

  @Override
  public void zeroPage(int page) throws IOException {
    fail();
    memory.zeroPage(page);
  }

  private void fail() throws IOException {
    if (failsAt == epoch) {
      throw new IOException("no space left");
    }
  }

  @Override
  public void deviceState(ByteBuffer state) throws IOException {
    memory.deviceState(state);
  }

  @Override
  public void commit() throws IOException {
    pass(slowCommit);
    memory.commit();
  }

  @Override
  public void discard() throws IOException {
    memory.discard();
  }

  @Override
  public void close() throws IOException {
    if (receiver != null) {
      receiver.abort();
    }
  }
}
