package org.understudy.guard;

import java.io.File;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ClosedSelectorException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.understudy.capture.PauseGuard;

/**
 * The daemon's side of its guard. Every wait is bounded. After any failure the connection is closed
 * and every further call fails: captures stop until a guard is attached or started again. Calls may
 * come from several threads; one is under way at a time.
 */
public final class GuardClient implements PauseGuard, AutoCloseable {
  private static final long REPLY_MS = 1_000;

  private final SocketChannel channel;
  private final Selector selector;
  private final GuardLines lines;
  private final String session;

  /**
   * The guard's own account.
   *
   * @param guest the guest's state
   * @param sent datagrams sent
   * @param failures datagrams that could not be sent
   * @param deadlinesEnforced pauses that the guard had to end
   * @param daemonsKilled daemons that did not end their pause even then
   */
  public record Account(
      GuestState guest, long sent, long failures, int deadlinesEnforced, int daemonsKilled) {}

  private GuardClient(Path socket) throws IOException {
    channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    Selector opened = null;
    boolean attached = false;
    try {
      channel.connect(UnixDomainSocketAddress.of(socket));
      channel.configureBlocking(false);
      opened = Selector.open();
      channel.register(opened, SelectionKey.OP_READ);
      selector = opened;
      lines = new GuardLines(channel);
      ProcessIdentity self = ProcessIdentity.of(Math.toIntExact(ProcessHandle.current().pid()));
      session = ask("hello " + Guard.PROTOCOL + " " + self.pid() + " " + self.startTicks());
      attached = true;
    } finally {
      if (!attached) {
        channel.close();
        if (opened != null) {
          opened.close();
        }
      }
    }
  }

  /**
   * Starts a guard in a session of its own, without any of our descriptors, and attaches to it.
   *
   * @param settingsFile where the settings go, kept for later daemons; the guard's log lies beside
   * @param launcher what makes it independent of us, such as {@code setsid}, or {@code systemd-run
   *     --scope} where a service manager would end it with us
   */
  public static GuardClient start(GuardSettings settings, Path settingsFile, List<String> launcher)
      throws IOException {
    settings.write(settingsFile);
    File log = settingsFile.resolveSibling(settingsFile.getFileName() + ".log").toFile();
    List<String> line = new ArrayList<>(launcher);
    line.addAll(
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xms4m",
            "-Xmx24m",
            "-Xss256k",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:ReservedCodeCacheSize=8m",
            "-XX:+ExitOnOutOfMemoryError",
            "-cp",
            System.getProperty("java.class.path"),
            Guard.class.getName(),
            settingsFile.toAbsolutePath().toString()));
    Process process =
        new ProcessBuilder(line)
            .directory(new File("/"))
            .redirectInput(new File("/dev/null"))
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log))
            .start();
    return attachWithin(settings, process, log, 15_000);
  }

  /**
   * Attaches to a guard that runs already, such as one that a daemon before us started.
   *
   * @throws IOException nobody answers there, or a daemon is attached that is still alive
   */
  public static GuardClient attach(Path socket) throws IOException {
    return new GuardClient(socket);
  }

  private static GuardClient attachWithin(
      GuardSettings settings, Process process, File log, long limitMs) throws IOException {
    long deadlineNs = System.nanoTime() + limitMs * 1_000_000;
    while (true) {
      try {
        GuardClient client = new GuardClient(settings.socket());
        if (client.session.equals(settings.session().toString())) {
          return client;
        }
        client.close();
        throw new IOException("another guard answers at " + settings.socket());
      } catch (IOException e) {
        boolean failed = !process.isAlive() && process.exitValue() != 0;
        if (failed || System.nanoTime() > deadlineNs) {
          throw new IOException("the guard did not start, see " + log + ": " + e.getMessage(), e);
        }
      }
      try {
        Thread.sleep(10);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IOException("interrupted while the guard started", e);
      }
    }
  }

  /** The guard's session, which its datagrams bear. */
  public String session() {
    return session;
  }

  @Override
  public synchronized void begin(int pipeFd) throws IOException {
    ask("begin " + pipeFd);
  }

  @Override
  public synchronized void firstByte() throws IOException {
    lines.send("first-byte");
  }

  @Override
  public synchronized boolean endedInTime() throws IOException {
    return ask("end").equals("in-time");
  }

  /** Asks for the guard's account. */
  public synchronized Account account() throws IOException {
    String[] words = ask("state").split(" ", -1);
    return new Account(
        GuestState.valueOf(words[0]),
        Long.parseLong(words[1]),
        Long.parseLong(words[2]),
        Integer.parseInt(words[3]),
        Integer.parseInt(words[4]));
  }

  /**
   * Has the process watched that holds the guest's output back.
   *
   * @param file its settings; {@code .pulse} and {@code .release} lie beside
   */
  public synchronized void watchOutput(ProcessIdentity holder, Path file) throws IOException {
    ask("output " + holder.pid() + " " + holder.startTicks() + " " + file);
  }

  /** Nothing holds output back any more. */
  public synchronized void forgetOutput() throws IOException {
    ask("output");
  }

  /** Tells that the guest has ended, or will at any moment, because somebody asked for it. */
  public synchronized void endsOnPurpose() throws IOException {
    ask("on-purpose");
  }

  /** Ends the guard: protection has ended. */
  public synchronized void finish() throws IOException {
    ask("finish");
  }

  private String ask(String request) throws IOException {
    try {
      lines.send(request);
      long deadlineNs = System.nanoTime() + REPLY_MS * 1_000_000;
      String reply = lines.next();
      while (reply == null) {
        long leftMs = (deadlineNs - System.nanoTime()) / 1_000_000;
        if (leftMs <= 0) {
          close(); // or a late answer would be taken for the next one's
          throw new IOException("no answer from the guard within " + REPLY_MS + " ms");
        }
        selector.select(leftMs);
        selector.selectedKeys().clear();
        boolean open = lines.fill();
        reply = lines.next();
        if (!open && reply == null) {
          close();
          throw new IOException("the guard has ended");
        }
      }
      if (reply.startsWith("ok")) {
        return reply.substring(2).strip();
      }
      throw new IOException("the guard refused \"" + request + "\": " + reply);
    } catch (ClosedChannelException | ClosedSelectorException e) {
      throw new IOException("no guard is attached", e);
    }
  }

  @Override
  public void close() throws IOException {
    channel.close();
    selector.close();
  }
}
