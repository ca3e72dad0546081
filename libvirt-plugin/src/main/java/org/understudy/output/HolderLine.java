package org.understudy.output;

import java.io.File;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.understudy.guard.GuardLines;
import org.understudy.guard.ProcessIdentity;

/**
 * The daemon's line to a holder. Thread-safe; a thread of its own, {@code output-hold}, hears what
 * the holder says.
 */
public final class HolderLine implements AutoCloseable {
  /** What the holder says of itself. */
  public interface Listener {
    /** Output is held, or goes out uncommitted; {@code why} may be empty. */
    void holds(boolean held, String why);

    /** The holder has ended, or its connection; not called after {@link #close}. */
    void ended();
  }

  /**
   * What a holder counted.
   *
   * @param heldPackets packets that wait for a commit
   * @param bytes kept in its memory
   * @param passed packets let out since its start
   * @param dropped packets that found no room
   * @param letGo how often output went out uncommitted because no epoch was committed for too long
   * @param p50Us time that half of the last minute's packets were held at most, microseconds
   * @param p99Us the same for 99 of 100
   */
  public record Counts(
      long heldPackets, long bytes, long passed, long dropped, long letGo, long p50Us, long p99Us) {
    static final Counts NONE = new Counts(0, 0, 0, 0, 0, 0, 0);
  }

  private final HolderSettings settings;
  private final SocketChannel channel;
  private final GuardLines lines;
  private final Listener listener;
  private volatile boolean closed;
  private volatile Counts counts = Counts.NONE;
  // under this
  private long answered;
  private ProcessIdentity process;

  private HolderLine(HolderSettings settings, Listener listener) throws IOException {
    this.settings = settings;
    this.listener = listener;
    channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    boolean attached = false;
    try {
      channel.connect(UnixDomainSocketAddress.of(settings.socket()));
      channel.write(ByteBuffer.wrap(preamble(Holder.DAEMON, 0)));
      attached = true;
    } finally {
      if (!attached) {
        channel.close();
      }
    }
    lines = new GuardLines(channel);
    Thread hearing = new Thread(this::hear, "output-hold");
    hearing.setDaemon(true);
    hearing.start();
  }

  /** What QEMU's connection that brings an interface's output has to say first. */
  public static byte[] sends(int index) {
    return preamble(Holder.SENDS, index);
  }

  /** What QEMU's connection that takes an interface's output back has to say first. */
  public static byte[] takesBack(int index) {
    return preamble(Holder.TAKES_BACK, index);
  }

  private static byte[] preamble(byte kind, int index) {
    return new byte[] {Holder.PREAMBLE[0], Holder.PREAMBLE[1], kind, (byte) index};
  }

  /** Attaches to a holder that an earlier daemon left. */
  public static HolderLine attach(HolderSettings settings, Listener listener) throws IOException {
    return new HolderLine(settings, listener);
  }

  /**
   * Starts a holder in a session of its own and attaches to it.
   *
   * @param file where the settings go, kept for later daemons
   * @param launcher what makes it independent of us, such as {@code setsid}
   */
  public static HolderLine start(
      HolderSettings settings, Path file, List<String> launcher, Listener listener)
      throws IOException {
    settings.write(file);
    File log = file.resolveSibling(file.getFileName() + ".log").toFile();
    long directMib = 4 + (long) settings.interfaceList().size() * settings.bytes() / (1 << 20);
    List<String> line = new ArrayList<>(launcher);
    line.addAll(
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Xms4m",
            "-Xmx16m",
            "-Xss256k",
            "-XX:MaxDirectMemorySize=" + directMib + "m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:ReservedCodeCacheSize=8m",
            "-XX:+ExitOnOutOfMemoryError",
            "-cp",
            System.getProperty("java.class.path"),
            Holder.class.getName(),
            file.toAbsolutePath().toString()));
    Process process =
        new ProcessBuilder(line)
            .directory(new File("/"))
            .redirectInput(new File("/dev/null"))
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log))
            .start();
    long deadlineNs = System.nanoTime() + 15_000_000_000L;
    while (true) {
      try {
        return new HolderLine(settings, listener);
      } catch (IOException e) {
        boolean failed = !process.isAlive() && process.exitValue() != 0;
        if (failed || System.nanoTime() - deadlineNs > 0) {
          throw new IOException("the holder did not start, see " + log + ": " + e.getMessage(), e);
        }
      }
      try {
        Thread.sleep(10);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IOException("interrupted while the holder started", e);
      }
    }
  }

  public HolderSettings settings() {
    return settings;
  }

  /**
   * The holder's process.
   *
   * @throws IOException it did not say so within a second
   */
  public synchronized ProcessIdentity process() throws IOException {
    long deadlineNs = System.nanoTime() + 1_000_000_000L;
    try {
      while (process == null && !closed && System.nanoTime() - deadlineNs < 0) {
        wait(50);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    if (process == null) {
      throw new IOException("the holder does not say who it is");
    }
    return process;
  }

  /** Asks for a mark behind all that was sent so far; does not wait. */
  public void mark(long id) throws IOException {
    send("mark " + id);
  }

  /**
   * The newest mark that is known to be taken, after waiting up to {@code waitMs} for mark {@code
   * id}.
   */
  public synchronized long marked(long id, long waitMs) {
    long deadlineNs = System.nanoTime() + waitMs * 1_000_000;
    try {
      for (long leftNs = waitMs * 1_000_000; answered < id && leftNs > 0 && !closed; ) {
        wait(leftNs / 1_000_000, (int) (leftNs % 1_000_000));
        leftNs = deadlineNs - System.nanoTime();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return answered;
  }

  /** What was sent before the mark may go out. */
  public void release(long id) throws IOException {
    send("release " + id);
  }

  /** Everything may go out, until the next release. */
  public void open() throws IOException {
    send("open");
  }

  /** Asks for counts that are new. */
  public void stats() throws IOException {
    send("stats");
  }

  /** Ends the holder. */
  public void finish() throws IOException {
    closed = true;
    send("finish");
  }

  public Counts counts() {
    return counts;
  }

  private synchronized void send(String line) throws IOException {
    lines.send(line);
  }

  private void hear() {
    try {
      while (lines.fill()) {
        for (String line = lines.next(); line != null; line = lines.next()) {
          heard(line.split(" ", 3));
        }
      }
    } catch (IOException | IllegalArgumentException e) {
      // as if it had ended
    }
    boolean told = closed;
    close();
    if (!told) {
      listener.ended();
    }
  }

  private void heard(String[] words) {
    switch (words[0]) {
      case "marked" -> {
        synchronized (this) {
          answered = Long.parseLong(words[1]);
          notifyAll();
        }
      }
      case "process" -> {
        synchronized (this) {
          process = new ProcessIdentity(Integer.parseInt(words[1]), Long.parseLong(words[2]));
          notifyAll();
        }
      }
      case "mode" -> listener.holds(words[1].equals("held"), words.length > 2 ? words[2] : "");
      case "stats" -> {
        String[] all = (words[1] + " " + words[2]).split(" ", -1);
        long[] numbers = java.util.Arrays.stream(all).mapToLong(Long::parseLong).toArray();
        counts =
            new Counts(
                numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6]);
      }
      default -> throw new IllegalArgumentException(words[0]);
    }
  }

  /** Lets go of the holder, which stays. */
  @Override
  public void close() {
    closed = true;
    try {
      channel.close();
    } catch (IOException e) {
      // gone either way
    }
  }
}
