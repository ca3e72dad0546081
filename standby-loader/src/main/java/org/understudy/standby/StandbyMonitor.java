package org.understudy.standby;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;

/**
 * What the loader needs from the standby's monitor, over libvirt or a QMP socket. Thread-safe.
 * Every call ends in bounded time, with an {@link IOException} that has QEMU's own sentence where
 * QEMU refuses.
 */
public interface StandbyMonitor {
  /** Sets the migration capability {@code postcopy-ram} (QMP {@code migrate-set-capabilities}). */
  void enablePostcopyRam() throws IOException;

  /** QMP {@code migrate-incoming} with {@code unix:SOCKET}; QEMU then listens there. */
  void migrateIncoming(Path socket) throws IOException;

  /** How the standby is now. */
  StandbyStatus standbyStatus() throws IOException;

  /** Names of the migration capabilities that are on (QMP {@code query-migrate-capabilities}). */
  Set<String> migrationCapabilities() throws IOException;

  /** QMP {@code query-migrate}'s status, such as {@code active} or {@code completed}. */
  String migrationStatus() throws IOException;

  /**
   * Starts the guest (libvirt's virDomainResume, QMP {@code cont}). Before the device state is
   * loaded it means that QEMU starts the guest itself as soon as it is.
   */
  void resume() throws IOException;

  /**
   * Returns when the guest runs.
   *
   * @throws IOException it does not run within {@code deadlineMs}; the message has the run state
   */
  default void awaitRunning(long deadlineMs) throws IOException {
    long end = System.nanoTime() + deadlineMs * 1_000_000;
    while (true) {
      StandbyStatus status = standbyStatus();
      if (status.runState().equals("running")) {
        return;
      }
      if (System.nanoTime() - end > 0) {
        throw new IOException(
            "the guest is " + status.runState() + " after " + deadlineMs + " ms, expected running");
      }
      LockSupport.parkNanos(200_000);
    }
  }
}
