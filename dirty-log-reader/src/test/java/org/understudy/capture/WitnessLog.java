package org.understudy.capture;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.understudy.dirtylog.DirtyLog;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;

/**
 * A dirty log that also reads all of the guest's memory inside each pause, by another way than the
 * capture does: what an epoch must be equal to.
 */
final class WitnessLog implements DirtyLog {
  final byte[] seen;
  private final DirtyLog log;
  private final GuestMapping mapping;

  /** Runs inside the pause, before the scan. */
  Runnable inPause = () -> {};

  boolean witness = true;

  WitnessLog(DirtyLog log, GuestMapping mapping) {
    this.log = log;
    this.mapping = mapping;
    seen = new byte[Math.toIntExact(mapping.layout().bytes())];
  }

  @Override
  public String method() {
    return log.method();
  }

  @Override
  public void look(PageSet into) throws IOException {
    log.look(into);
  }

  @Override
  public void rearm(PageSet into) throws IOException {
    inPause.run();
    if (witness) {
      read(mapping, seen);
    }
    log.rearm(into);
  }

  static void read(GuestMapping mapping, byte[] into) throws IOException {
    ByteBuffer all = ByteBuffer.wrap(into);
    try (FileChannel memory =
        FileChannel.open(Path.of("/proc/" + mapping.pid() + "/mem"), StandardOpenOption.READ)) {
      for (int b = 0; b < mapping.hostAddress().length; b++) {
        int from = all.position();
        all.limit(from + Math.toIntExact(mapping.layout().blocks().get(b).bytes()));
        while (all.hasRemaining()) {
          if (memory.read(all, mapping.hostAddress()[b] + all.position() - from) <= 0) {
            throw new IOException("QEMU has ended");
          }
        }
      }
    }
  }

  @Override
  public void close() {
    log.close();
  }
}
