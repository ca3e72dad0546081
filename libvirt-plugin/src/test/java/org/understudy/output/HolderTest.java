package org.understudy.output;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.guard.ProcessIdentity;
import org.understudy.linux.PidFd;

/** The holder's real process; this test is QEMU and the daemon. */
@Timeout(60)
class HolderTest {
  private static final long LIMIT_MS = 1000;

  @TempDir private Path folder;
  private final BlockingQueue<String> said = new LinkedBlockingQueue<>();
  private HolderSettings settings;
  private HolderLine daemon;
  private SocketChannel sends;
  private SocketChannel takesBack;
  private byte sequence;

  private final class Ears implements HolderLine.Listener {
    @Override
    public void holds(boolean held, String why) {
      said.add(held ? "held" : "open");
    }

    @Override
    public void ended() {
      said.add("ended");
    }
  }

  @BeforeEach
  void start() throws Exception {
    settings =
        new HolderSettings(
            "test",
            ProcessIdentity.of((int) ProcessHandle.current().pid()),
            folder.resolve("h"),
            "net0",
            LIMIT_MS,
            1 << 20);
    daemon = HolderLine.start(settings, folder.resolve("x.holder"), List.of("setsid"), new Ears());
    sends = connect(HolderLine.sends(0));
    takesBack = connect(HolderLine.takesBack(0));
    hear("open");
  }

  @AfterEach
  void end() throws IOException {
    sends.close();
    takesBack.close();
    HolderLine last = HolderLine.attach(settings, new Ears());
    last.finish();
    last.close();
    daemon.close();
  }

  private SocketChannel connect(byte[] preamble) throws IOException {
    SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    channel.connect(UnixDomainSocketAddress.of(settings.socket()));
    channel.write(ByteBuffer.wrap(preamble));
    return channel;
  }

  private void hear(String what) throws InterruptedException {
    assertEquals(what, said.poll(20, TimeUnit.SECONDS));
  }

  private byte[] send() throws IOException {
    byte[] packet = {0, 0, 0, 3, sequence++, 'o', 'k'};
    sends.write(ByteBuffer.wrap(packet));
    return packet;
  }

  private byte[] receive() throws IOException {
    ByteBuffer packet = ByteBuffer.allocate(7);
    while (packet.hasRemaining()) {
      assertTrue(takesBack.read(packet) > 0);
    }
    return packet.array();
  }

  private void nothingComes() throws Exception {
    takesBack.configureBlocking(false);
    Thread.sleep(100);
    assertEquals(0, takesBack.read(ByteBuffer.allocate(1)));
    takesBack.configureBlocking(true);
  }

  /** Until the first commit everything passes; afterwards what is released. */
  private void hold() throws Exception {
    byte[] free = send();
    assertArrayEquals(free, receive());
    daemon.mark(1);
    assertEquals(1, daemon.marked(1, 5000));
    daemon.release(1);
    hear("held");
  }

  @Test
  void outputGoesOutUpToTheMarkOfTheCommittedEpoch() throws Exception {
    hold();
    byte[] before = send();
    daemon.mark(2); // a mark has all before it that was written, read or not
    assertEquals(2, daemon.marked(2, 5000));
    byte[] behind = send();
    nothingComes();
    daemon.release(2);
    assertArrayEquals(before, receive());
    nothingComes();
    daemon.stats();
    daemon.mark(3);
    assertEquals(3, daemon.marked(3, 5000));
    assertTrue(daemon.counts().p50Us() >= 100_000, "held while nothing came: " + daemon.counts());
    daemon.release(3);
    assertArrayEquals(behind, receive());
  }

  @Test
  void withoutACommitOutputIsLetGoAtTheLimitAndHeldAgainAfterTheNext() throws Exception {
    hold();
    byte[] late = send();
    long sentNs = System.nanoTime();
    assertArrayEquals(late, receive());
    long waitedMs = (System.nanoTime() - sentNs) / 1_000_000;
    assertTrue(waitedMs >= LIMIT_MS, waitedMs + " ms");
    hear("open");
    assertArrayEquals(send(), receive());
    daemon.stats();
    daemon.mark(9);
    daemon.release(9);
    hear("held");
    assertEquals(1, daemon.counts().letGo());
    send();
    nothingComes();
  }

  @Test
  void theDeathOfTheDaemonLetsOutputGoAndTheNextDaemonHoldsItAgain() throws Exception {
    hold();
    byte[] packet = send();
    nothingComes();
    daemon.close();
    assertArrayEquals(packet, receive());
    assertArrayEquals(send(), receive());
    daemon = HolderLine.attach(settings, new Ears());
    hear("open");
    hold2();
  }

  private void hold2() throws Exception {
    daemon.mark(1);
    assertEquals(1, daemon.marked(1, 5000));
    daemon.release(1);
    hear("held");
    send();
    nothingComes();
  }

  @Test
  void aStoppedHolderAnswersNoMarkAndAKilledOneIsNoticed() throws Exception {
    hold();
    ProcessIdentity holder = daemon.process();
    try (PidFd process = new PidFd(holder.pid())) {
      process.signal(PidFd.SIGSTOP);
      daemon.mark(7);
      assertEquals(1, daemon.marked(7, 50), "an unanswered mark is none");
      process.signal(PidFd.SIGKILL);
      hear("ended");
      assertTrue(process.awaitExit(5000));
    }
    daemon = HolderLine.start(settings, folder.resolve("x.holder"), List.of("setsid"), new Ears());
    hear("open");
  }
}
