package org.understudy.output;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import org.understudy.guard.GuardLines;
import org.understudy.guard.ProcessIdentity;

/**
 * The holder's process: {@code Holder SETTINGS-FILE}. Holds what a guest sends until the daemon
 * says that the epoch it belongs to is committed, and outlives the daemon: without a commit for too
 * long the output goes out uncommitted, and everything that comes passes, until epochs are
 * committed again. One thread steps everything; it never waits, for QEMU waits in its write where
 * nobody reads.
 */
public final class Holder implements AutoCloseable {
  static final byte[] PREAMBLE = {'u', 's'};
  static final byte DAEMON = 'd';
  static final byte SENDS = 'o';
  static final byte TAKES_BACK = 'i';
  private static final int MARKS = 256;
  private static final long STEP_MS = 50;
  private static final long STATS_NS = 1_000_000_000L;
  private static final int STATS_PER_PERIOD = 30;

  /** Nobody came, or everybody went, for so long: the guest is not held any more. */
  private static final long FORGOTTEN_NS = 60_000_000_000L;

  private final HolderSettings settings;
  private final List<HeldInterface> interfaces = new ArrayList<>();
  private final LatencyHistogram held = new LatencyHistogram();
  private final ByteBuffer scratch = ByteBuffer.allocateDirect(1 << 18);
  private final ByteBuffer pulse = ByteBuffer.allocateDirect(Long.BYTES);
  private final FileChannel pulseFile;
  private final Selector selector = Selector.open();
  private final ServerSocketChannel server;
  private final long[] markIds = new long[MARKS];
  private final long[][] marks;
  private GuardLines daemon;
  private boolean holding;
  private boolean finished;
  private long letGo; // times that output went out uncommitted
  private long statsDueNs;
  private long statsTold;
  private long aloneSinceNs = System.nanoTime();

  private Holder(HolderSettings settings, Path file) throws IOException {
    this.settings = settings;
    for (String alias : settings.interfaceList()) {
      interfaces.add(new HeldInterface(alias, settings.bytes(), held));
    }
    marks = new long[MARKS][interfaces.size()];
    pulseFile =
        FileChannel.open(
            HolderSettings.pulse(file), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    Files.deleteIfExists(settings.socket());
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(settings.socket()));
    Files.setPosixFilePermissions(settings.socket(), PosixFilePermissions.fromString("rw-------"));
    server.configureBlocking(false);
    server.register(selector, SelectionKey.OP_ACCEPT);
  }

  /** Runs until the daemon ends it, or the guest is gone. */
  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 1) {
      System.err.println("usage: Holder SETTINGS-FILE");
      System.exit(2);
    }
    Path file = Path.of(arguments[0]);
    try (Holder holder = new Holder(HolderSettings.read(file), file)) {
      holder.run();
    }
  }

  private void run() throws IOException {
    log("holding " + settings.interfaces() + " of process " + settings.qemu().pid());
    while (!finished) {
      selector.select(this::ready, STEP_MS);
      long nowNs = System.nanoTime();
      pulse.clear();
      pulse.putLong(0, pulse.getLong(0) + 1);
      pulseFile.write(pulse, 0);
      letGoWhatWaitsTooLong(nowNs);
      if (nowNs - statsDueNs >= 0) {
        statsDueNs = nowNs + STATS_NS;
        tellStats();
        finished |= isForgotten(nowNs);
      }
    }
    log("over");
  }

  private void letGoWhatWaitsTooLong(long nowNs) {
    if (!holding || settings.limitMs() == 0) {
      return;
    }
    for (HeldInterface each : interfaces) {
      if (each.packets().waitedNs(nowNs) > settings.limitMs() * 1_000_000) {
        letGo++;
        open("no epoch was committed for " + settings.limitMs() + " ms");
        return;
      }
    }
  }

  /** Everything goes out, and passes from now on. */
  private void open(String why) {
    holding = false;
    long nowNs = System.nanoTime();
    for (HeldInterface each : interfaces) {
      release(each, each.packets().mark(), nowNs);
    }
    tell("mode open " + why);
  }

  private boolean isForgotten(long nowNs) {
    boolean qemuIsGone;
    try {
      qemuIsGone = !ProcessIdentity.of(settings.qemu().pid()).equals(settings.qemu());
    } catch (IOException e) {
      qemuIsGone = true;
    }
    if (daemon != null || interfaces.stream().anyMatch(HeldInterface::connected)) {
      aloneSinceNs = nowNs;
    }
    return qemuIsGone || nowNs - aloneSinceNs > FORGOTTEN_NS;
  }

  private void ready(SelectionKey key) {
    try {
      if (key.isAcceptable()) {
        SocketChannel accepted = server.accept();
        if (accepted != null) {
          accepted.configureBlocking(false);
          accepted.register(selector, SelectionKey.OP_READ, ByteBuffer.allocate(4));
        }
      } else if (key.attachment() instanceof ByteBuffer preamble) {
        introduce(key, preamble);
      } else if (key.attachment() instanceof HeldInterface each) {
        step(each, key);
      } else {
        GuardLines lines = (GuardLines) key.attachment();
        boolean open = lines.fill();
        for (String line = lines.next(); line != null; line = lines.next()) {
          obey(line);
        }
        if (!open) {
          hangUp(lines);
        }
      }
    } catch (IOException | RuntimeException e) {
      log("a connection failed: " + e.getMessage());
      try {
        key.channel().close();
      } catch (IOException ignored) {
        // It is gone either way.
      }
      if (key.attachment() instanceof GuardLines lines) {
        hangUp(lines);
      }
    }
  }

  /** Who connects says in four bytes what it is; behind them its stream begins. */
  private void introduce(SelectionKey key, ByteBuffer preamble) throws IOException {
    SocketChannel channel = (SocketChannel) key.channel();
    if (channel.read(preamble) < 0) {
      channel.close();
      return;
    }
    if (preamble.hasRemaining()) {
      return;
    }
    int index = preamble.get(3);
    if (preamble.get(0) != PREAMBLE[0] || preamble.get(1) != PREAMBLE[1]) {
      throw new IOException("somebody who is neither QEMU nor the daemon");
    }
    switch (preamble.get(2)) {
      case DAEMON -> {
        if (daemon != null) {
          daemon.channel().close(); // the newest one counts
        }
        daemon = new GuardLines(channel);
        key.attach(daemon);
        log("a daemon is attached");
        ProcessIdentity self = ProcessIdentity.of(Math.toIntExact(ProcessHandle.current().pid()));
        tell("process " + self.pid() + " " + self.startTicks());
        tell(holding ? "mode held" : "mode open");
      }
      case SENDS -> interfaces.get(index).sends(channel, selector);
      case TAKES_BACK -> interfaces.get(index).takesBack(channel, selector);
      default -> throw new IOException("no such kind of connection: " + preamble.get(2));
    }
  }

  private void step(HeldInterface each, SelectionKey key) {
    long nowNs = System.nanoTime();
    try {
      each.ready(key, scratch, nowNs);
    } catch (IOException e) {
      log(each.alias() + ": " + e.getMessage());
      each.close();
    }
    if (!holding) {
      release(each, each.packets().mark(), nowNs);
    }
  }

  private static void release(HeldInterface each, long mark, long nowNs) {
    try {
      each.release(mark, nowNs);
    } catch (IOException e) {
      log(each.alias() + ": " + e.getMessage());
      each.close();
    }
  }

  private void obey(String line) throws IOException {
    String[] words = line.split(" ", -1);
    switch (words[0]) {
      case "mark" -> mark(Long.parseLong(words[1]));
      case "release" -> release(Long.parseLong(words[1]));
      case "open" -> open("the daemon says so");
      case "stats" -> tellStats();
      case "finish" -> finished = true;
      default -> throw new IOException("no such request: " + line);
    }
  }

  /**
   * All that has been sent so far, also what waits unread in QEMU's sockets, is before the mark.
   */
  private void mark(long id) throws IOException {
    int slot = (int) (id % MARKS);
    markIds[slot] = id;
    long nowNs = System.nanoTime();
    for (int i = 0; i < interfaces.size(); i++) {
      HeldInterface each = interfaces.get(i);
      each.readAll(scratch, nowNs);
      marks[slot][i] = each.packets().mark();
    }
    tell("marked " + id);
  }

  /** What was sent before the mark belongs to a committed epoch. */
  private void release(long id) {
    int slot = (int) (id % MARKS);
    if (markIds[slot] != id) {
      return; // an earlier holder's
    }
    long nowNs = System.nanoTime();
    for (int i = 0; i < interfaces.size(); i++) {
      release(interfaces.get(i), marks[slot][i], nowNs);
    }
    if (!holding) {
      holding = true;
      held.turn(); // what passed unheld says nothing of what is to come
      held.turn();
      tell("mode held");
    }
  }

  private void tellStats() {
    long packets = 0;
    long bytes = 0;
    long passed = 0;
    long dropped = 0;
    for (HeldInterface each : interfaces) {
      packets += each.packets().heldPackets();
      bytes += each.packets().bytes();
      passed += each.packets().passed();
      dropped += each.packets().dropped();
    }
    tell(
        "stats %d %d %d %d %d %d %d"
            .formatted(
                packets,
                bytes,
                passed,
                dropped,
                letGo,
                held.quantileUs(0.5),
                held.quantileUs(0.99)));
    if (++statsTold % STATS_PER_PERIOD == 0) {
      held.turn();
    }
  }

  private void tell(String line) {
    if (line.startsWith("mode")) {
      log(line);
    }
    if (daemon == null) {
      return;
    }
    try {
      daemon.send(line);
    } catch (IOException e) {
      hangUp(daemon);
    }
  }

  private void hangUp(GuardLines lines) {
    if (lines != daemon) {
      return;
    }
    log("the daemon has gone");
    try {
      daemon.channel().close();
    } catch (IOException ignored) {
      // It is gone either way.
    }
    daemon = null;
  }

  private static void log(String sentence) {
    System.out.println(java.time.Instant.now() + " " + sentence);
  }

  @Override
  public void close() throws IOException {
    Files.deleteIfExists(settings.socket());
    server.close();
    for (HeldInterface each : interfaces) {
      each.close();
    }
    selector.close();
    pulseFile.close();
  }
}
