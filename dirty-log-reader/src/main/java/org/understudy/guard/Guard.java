package org.understudy.guard;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SelectableChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.understudy.fault.FaultPoint;
import org.understudy.linux.OwnMemory;
import org.understudy.linux.PidFd;

/**
 * The guard's process: {@code Guard SETTINGS-FILE}. One thread steps everything; the daemon speaks
 * to it over a UNIX socket (docs/formats/guard.md).
 */
public final class Guard implements AutoCloseable {
  static final int PROTOCOL = 1;
  private static final long WATCH_MS = 50;
  private static final long PAUSE_TICK_MS = 10;
  private static final long TOLD_NS = 30_000_000_000L;

  /** An ended guest whose daemon never came back to end protection. */
  private static final long FORGOTTEN_NS = 3_600_000_000_000L;

  private final GuardedPause pause;
  private final GuestWatch guest;
  private final GuardHeartbeat heartbeat;
  private final GuardSettings settings;
  private final Selector selector = Selector.open();
  private final ServerSocketChannel server;
  private OutputWatch output;
  private PidFd daemon;
  private SocketChannel daemonChannel;
  private GuestState told = GuestState.ALIVE;
  private boolean toldDaemonAlive;
  private long endedNs;
  private boolean finished;
  private int deadlinesEnforced;
  private int daemonsKilled;

  private Guard(GuardSettings settings) throws IOException {
    this.settings = settings;
    pause = new GuardedPause(settings.deadlineMs(), settings.graceMs());
    guest = new GuestWatch(settings.qemu().hold(), new EndReason(settings.reasonCommand(), 10_000));
    heartbeat = new GuardHeartbeat(settings, System.nanoTime());
    Files.deleteIfExists(settings.socket());
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(settings.socket()));
    Files.setPosixFilePermissions(settings.socket(), PosixFilePermissions.fromString("rw-------"));
    server.configureBlocking(false);
    server.register(selector, SelectionKey.OP_ACCEPT);
  }

  /** Runs until protection ends, or the guest has ended on purpose and everybody was told. */
  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 1) {
      System.err.println("usage: Guard SETTINGS-FILE");
      System.exit(2);
    }
    try (Guard guard = new Guard(GuardSettings.read(Path.of(arguments[0])))) {
      withstandMemoryShortage();
      guard.run();
    }
  }

  /**
   * A host that is short of memory is when a daemon hangs in a pause: its guard then neither ends
   * nor waits for its own pages.
   */
  private static void withstandMemoryShortage() {
    try {
      // The kernel should take the daemon and even QEMU before their guard.
      Files.writeString(Path.of("/proc/self/oom_score_adj"), "-900");
    } catch (IOException e) {
      log("oom_score_adj stays as it is: " + e.getMessage());
    }
    try {
      GuardedPause.rehearse(); // so that what it takes to end a pause is in memory
      OwnMemory.lock();
    } catch (IOException e) {
      log("this guard may be paged out: " + e.getMessage());
    }
  }

  private void run() throws IOException {
    log("guarding process " + settings.qemu().pid() + ", session " + settings.session());
    while (!finished) {
      selector.select(this::ready, sleepMs());
      long nowNs = System.nanoTime();
      watchDaemon();
      guest.tick();
      GuestState state = guest.state();
      boolean daemonAlive = daemon != null;
      heartbeat.tick(nowNs, state, daemonAlive, state != told || daemonAlive != toldDaemonAlive);
      if (state != told) {
        log("the guest is " + state);
        endedNs = nowNs;
      }
      told = state;
      toldDaemonAlive = daemonAlive;
      watchPause(nowNs);
      watchOutput(nowNs);
      finished |= state == GuestState.ENDED_ON_PURPOSE && nowNs - endedNs > TOLD_NS;
      finished |= state != GuestState.ALIVE && !daemonAlive && nowNs - endedNs > FORGOTTEN_NS;
    }
  }

  private long sleepMs() {
    long ms = Math.min(WATCH_MS, heartbeat.leftMs(System.nanoTime()));
    ms = pause.busy() ? Math.min(ms, PAUSE_TICK_MS) : ms;
    return pause.draining() ? 1 : Math.max(1, ms);
  }

  private void watchPause(long nowNs) throws IOException {
    switch (pause.tick(nowNs)) {
      case NOTHING -> {}
      case EXPIRED -> {
        deadlinesEnforced++;
        log("a pause was longer than " + settings.deadlineMs() + " ms: drained its pipe");
      }
      case KILL -> {
        daemonsKilled++;
        log("daemon " + daemon.pid() + " did not end its pause: killed");
        daemon.signal(PidFd.SIGKILL);
      }
    }
  }

  private void watchOutput(long nowNs) throws IOException {
    String done = output == null ? null : output.tick(nowNs);
    if (done != null) {
      log(done);
    }
  }

  /** {@code output PID START FILE}: the holder of the guest's output; without words, none. */
  private void output(String line) throws IOException {
    if (output != null) {
      output.close();
      output = null;
    }
    String[] words = line.split(" ", 4);
    if (words.length == 4) {
      ProcessIdentity holder =
          new ProcessIdentity(Integer.parseInt(words[1]), Long.parseLong(words[2]));
      output = new OutputWatch(holder, Path.of(words[3]), System.nanoTime());
    }
  }

  private void watchDaemon() throws IOException {
    if (daemon != null && !daemon.isAlive()) {
      log("daemon " + daemon.pid() + " has ended");
      pause.daemonGone();
      detach();
    } else if (daemon != null && daemonChannel == null && !pause.active()) {
      // It hung up. In the middle of a pause it stays our business until that has ended.
      log("daemon " + daemon.pid() + " has detached");
      detach();
    }
  }

  private void detach() {
    daemon.close();
    daemon = null;
    daemonChannel = null;
  }

  private void hangUp(SelectableChannel channel) throws IOException {
    if (channel == daemonChannel) {
      daemonChannel = null;
    }
    channel.close();
  }

  private void ready(SelectionKey key) {
    try {
      if (key.isAcceptable()) {
        SocketChannel accepted = server.accept();
        if (accepted != null) {
          accepted.configureBlocking(false);
          accepted.register(selector, SelectionKey.OP_READ, new GuardLines(accepted));
        }
      } else {
        GuardLines lines = (GuardLines) key.attachment();
        boolean open = lines.fill();
        for (String line = lines.next(); line != null; line = lines.next()) {
          String reply = answer(line, lines.channel());
          if (!reply.isEmpty()) {
            lines.send(reply);
          }
        }
        if (!open) {
          hangUp(lines.channel());
        }
      }
    } catch (IOException e) {
      log("a connection failed: " + e.getMessage());
      try {
        hangUp(key.channel());
      } catch (IOException ignored) {
        // It is gone either way.
      }
    }
  }

  private String answer(String line, SocketChannel from) {
    String[] words = line.split(" ", -1);
    try {
      return switch (words[0]) {
        case "hello" -> hello(words, from);
        case "state" ->
            String.format(
                "ok %s %d %d %d %d",
                guest.state(),
                heartbeat.sent(),
                heartbeat.failures(),
                deadlinesEnforced,
                daemonsKilled);
        case "begin" -> {
          mustBeDaemon(from);
          pause.begin(daemon.pid(), Integer.parseInt(words[1]));
          FaultPoint.GUARD_TOLD_OF_PAUSE.reached();
          yield "ok";
        }
        case "first-byte" -> {
          mustBeDaemon(from);
          pause.firstByte(System.nanoTime());
          FaultPoint.GUARD_TOLD_OF_STOP.reached();
          yield "";
        }
        case "end" -> {
          mustBeDaemon(from);
          FaultPoint.GUARD_TOLD_OF_END.reached();
          yield pause.end() ? "ok in-time" : "ok expired";
        }
        case "output" -> {
          mustBeDaemon(from);
          output(line);
          yield "ok";
        }
        case "on-purpose" -> {
          mustBeDaemon(from);
          guest.endsOnPurpose();
          yield "ok";
        }
        case "finish" -> {
          mustBeDaemon(from);
          finished = true;
          yield "ok";
        }
        default -> "error no such request: " + words[0];
      };
    } catch (IOException | RuntimeException e) {
      return "error " + String.valueOf(e.getMessage()).replace('\n', ' ');
    }
  }

  private String hello(String[] words, SocketChannel from) throws IOException {
    if (words.length != 4 || Integer.parseInt(words[1]) != PROTOCOL) {
      throw new IOException("expected: hello " + PROTOCOL + " PID START");
    }
    watchDaemon();
    PidFd caller = new ProcessIdentity(Integer.parseInt(words[2]), Long.parseLong(words[3])).hold();
    if (daemon != null && daemon.pid() != caller.pid()) {
      caller.close();
      throw new IOException("daemon " + daemon.pid() + " is attached and alive");
    }
    if (daemon != null) {
      daemon.close();
    }
    daemon = caller;
    daemonChannel = from;
    pause.end();
    log("daemon " + daemon.pid() + " is attached");
    return "ok " + settings.session();
  }

  private void mustBeDaemon(SocketChannel from) throws IOException {
    if (daemon == null || from != daemonChannel) {
      throw new IOException("say hello first");
    }
  }

  private static void log(String sentence) {
    System.out.println(java.time.Instant.now() + " " + sentence);
  }

  @Override
  public void close() throws IOException {
    Files.deleteIfExists(settings.socket());
    server.close();
    selector.close();
    heartbeat.close();
    guest.close();
  }
}
