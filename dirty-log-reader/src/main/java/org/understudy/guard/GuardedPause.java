package org.understudy.guard;

import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.understudy.linux.AnonymousPipe;

/**
 * The guard's watch over one pause at a time. Stepped by {@link #tick} with the time passed in.
 *
 * <p>The daemon's pipe is opened anew through {@code /proc/PID/fd/N}. A reading end of ours would
 * keep QEMU from seeing EPIPE should the daemon die, so before the deadline it is open only for the
 * moments in which the guard looks whether bytes are there. The link's target, which names the
 * pipe, is compared each time: the daemon may have closed the pipe and the number may mean
 * something else by now.
 */
final class GuardedPause {
  /** A QEMU that writes nothing for so long is not waiting for us. */
  private static final long QUIET_NS = 1_000_000_000;

  private static final long SPIN_NS = 2_000_000;

  private final long deadlineNs;
  private final long graceNs;
  private final byte[] waste = new byte[1 << 16];
  private Path pipe;
  private String target;
  private boolean active;
  private long firstByteNs;
  private boolean expired;
  private long expiredNs;
  private boolean killed;
  private FileInputStream drain;
  private long lastByteNs;
  private long drained;

  /** What the caller has to do after a tick. */
  enum Step {
    NOTHING,
    /** The deadline has just passed and the pipe is being drained. */
    EXPIRED,
    /** The daemon did not end its pause within the grace: kill it. */
    KILL
  }

  GuardedPause(long deadlineMs, long graceMs) {
    deadlineNs = deadlineMs * 1_000_000;
    graceNs = graceMs * 1_000_000;
  }

  /** Ends a pause of our own on a pipe that nobody else has. */
  static void rehearse() throws IOException {
    try (AnonymousPipe pipe = new AnonymousPipe()) {
      GuardedPause pause = new GuardedPause(0, Long.MAX_VALUE >> 24);
      pause.begin(Math.toIntExact(ProcessHandle.current().pid()), pipe.readFd());
      try (FileOutputStream qemu = new FileOutputStream("/proc/self/fd/" + pipe.writeFd())) {
        qemu.write(new byte[512]);
      }
      pause.tick(System.nanoTime());
      pause.end();
      if (pause.drained() != 512) {
        throw new IOException("drained " + pause.drained() + " bytes of 512 in a rehearsal");
      }
    }
  }

  /** A daemon is about to pause the guest. */
  void begin(int daemonPid, int pipeFd) throws IOException {
    if (active) {
      throw new IOException("a pause is under way already");
    }
    pipe = Path.of("/proc/" + daemonPid + "/fd/" + pipeFd);
    target = Files.readSymbolicLink(pipe).toString();
    if (!target.startsWith("pipe:")) {
      throw new IOException("descriptor " + pipeFd + " is " + target + ", expected a pipe");
    }
    stopDraining();
    active = true;
    firstByteNs = 0;
    expired = false;
    killed = false;
    drained = 0;
  }

  /** The daemon has seen the first byte. */
  void firstByte(long nowNs) {
    if (active && firstByteNs == 0) {
      firstByteNs = nowNs;
    }
  }

  /** The daemon has ended its pause. Returns whether it was in time. */
  boolean end() {
    active = false;
    stopDraining(); // the daemon has QEMU's reply, or has closed its end: no need of us any more
    return !expired;
  }

  /** The daemon is gone: its reading end with it, and QEMU goes on by itself. */
  void daemonGone() {
    active = false;
  }

  /** Whether a pause is under way, announced and not ended. */
  boolean active() {
    return active;
  }

  /** Whether a pause is under way or a pipe being drained. */
  boolean busy() {
    return active || drain != null;
  }

  /** Whether ticks should follow at once. */
  boolean draining() {
    return drain != null;
  }

  /** Bytes drained in the present or last pause. */
  long drained() {
    return drained;
  }

  /** Goes on with whatever is due. */
  Step tick(long nowNs) {
    if (drain != null) {
      drain(nowNs);
    }
    if (!active) {
      return Step.NOTHING;
    }
    if (firstByteNs == 0 && bytesAreThere()) {
      firstByteNs = nowNs;
    }
    if (!expired && firstByteNs != 0 && nowNs - firstByteNs >= deadlineNs) {
      expired = true;
      expiredNs = nowNs;
      drain = open();
      lastByteNs = nowNs;
      drain(nowNs);
      return Step.EXPIRED;
    }
    if (expired && !killed && nowNs - expiredNs >= graceNs) {
      killed = true;
      return Step.KILL;
    }
    return Step.NOTHING;
  }

  private boolean bytesAreThere() {
    try (FileInputStream look = open()) {
      return look != null && look.available() > 0;
    } catch (IOException e) {
      return false;
    }
  }

  private void drain(long nowNs) {
    if (drain == null) {
      return;
    }
    long sinceNs = System.nanoTime();
    long byteNs = sinceNs;
    try {
      // QEMU refills 4 KiB as soon as they are gone; waiting a tick for each would take long.
      while (System.nanoTime() - byteNs < SPIN_NS && System.nanoTime() - sinceNs < 25 * SPIN_NS) {
        int there = drain.available();
        if (there > 0) {
          drained += drain.read(waste, 0, Math.min(there, waste.length));
          lastByteNs = nowNs;
          byteNs = System.nanoTime();
        } else {
          Thread.onSpinWait();
        }
      }
    } catch (IOException e) {
      stopDraining();
      return;
    }
    if (nowNs - lastByteNs > QUIET_NS) {
      stopDraining();
    }
  }

  /** The pipe, or null if the daemon has it no longer. */
  private FileInputStream open() {
    FileInputStream in = null;
    try {
      if (!Files.readSymbolicLink(pipe).toString().equals(target)) {
        return null;
      }
      in = new FileInputStream(pipe.toFile());
      if (Files.readSymbolicLink(pipe).toString().equals(target)) {
        return in;
      }
      in.close();
    } catch (IOException gone) {
      if (in != null) {
        close(in);
      }
    }
    return null;
  }

  private void stopDraining() {
    if (drain != null) {
      close(drain);
      drain = null;
    }
  }

  private static void close(FileInputStream in) {
    try {
      in.close();
    } catch (IOException ignored) {
      // Nothing is lost with a reading end.
    }
  }
}
