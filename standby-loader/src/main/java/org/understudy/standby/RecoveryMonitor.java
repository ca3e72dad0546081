package org.understudy.standby;

import java.io.IOException;
import java.nio.file.Path;

/**
 * What a recovery needs of QEMU's monitor, out of band: while the guest waits for pages QEMU's main
 * loop may wait, too, and no other command is answered.
 */
public interface RecoveryMonitor {
  /**
   * QMP {@code migrate-recover} with {@code unix:SOCKET}, where QEMU then listens. Ends in bounded
   * time.
   *
   * @throws IOException with QEMU's sentence where it refuses: it has to be in postcopy-paused
   */
  void migrateRecover(Path socket) throws IOException;
}
