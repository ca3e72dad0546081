package org.understudy.guard;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.understudy.linux.PidFd;

/**
 * The guard's eye on the process that holds the guest's output back. QEMU waits in its write where
 * that process does not read, and drops what the guest sends where it is gone. So one that no
 * longer changes its pulse is killed, and when it has ended a script takes QEMU's filters away; the
 * daemon, if it lives, does the same.
 */
final class OutputWatch implements AutoCloseable {
  private static final long HUNG_NS = 1_000_000_000;

  /** A guard that slept through the time has not seen that nothing happened. */
  private static final int HUNG_LOOKS = 10;

  private final PidFd holder;
  private final Path pulse;
  private final Path release;
  private byte[] last = {};
  private long changedNs;
  private int looks;
  private boolean ended;

  /**
   * @param file the holder's settings; {@code .pulse} and {@code .release} lie beside
   */
  OutputWatch(ProcessIdentity holder, Path file, long nowNs) throws IOException {
    this.holder = holder.hold();
    pulse = file.resolveSibling(file.getFileName() + ".pulse");
    release = file.resolveSibling(file.getFileName() + ".release");
    changedNs = nowNs;
  }

  /** Looks. Returns a sentence if something had to be done, otherwise null. */
  String tick(long nowNs) throws IOException {
    if (ended) {
      return null;
    }
    if (!holder.isAlive()) {
      ended = true;
      new ProcessBuilder("sh", release.toString()).inheritIO().start();
      return "process " + holder.pid() + ", which held output back, has ended: filters are removed";
    }
    byte[] now = Files.exists(pulse) ? Files.readAllBytes(pulse) : last;
    if (!Arrays.equals(now, last)) {
      last = now;
      changedNs = nowNs;
      looks = 0;
      return null;
    }
    looks++;
    if (nowNs - changedNs < HUNG_NS || looks < HUNG_LOOKS) {
      return null;
    }
    holder.signal(PidFd.SIGKILL);
    return "process " + holder.pid() + ", which holds output back, hangs: killed";
  }

  @Override
  public void close() {
    holder.close();
  }
}
