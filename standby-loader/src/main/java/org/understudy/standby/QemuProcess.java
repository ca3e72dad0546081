package org.understudy.standby;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.understudy.guest.GuestMapping;

/** The standby's QEMU as the kernel shows it in /proc, whatever its monitors say. */
public final class QemuProcess {
  private final int pid;
  private final PresenceProbe presence;

  private QemuProcess(int pid, PresenceProbe presence) {
    this.pid = pid;
    this.presence = presence;
  }

  /** A process whose RAM blocks' addresses are not known. */
  public static QemuProcess of(int pid) {
    return new QemuProcess(pid, null);
  }

  /**
   * A process with the addresses of its RAM blocks.
   *
   * @param mapping of the standby's own process, its blocks in the order of the guest's layout
   */
  public static QemuProcess of(GuestMapping mapping) {
    return new QemuProcess(mapping.pid(), new PagemapPresence(mapping));
  }

  /** The look at its memory, or null where the addresses are not known. */
  PresenceProbe presence() {
    return presence;
  }

  /**
   * Number of open files on which it holds locks. A QEMU that waits for a migration has its disk
   * images inactive and unlocked; {@code cont} activates and locks them, and is visible nowhere
   * else.
   */
  int lockedFiles() throws IOException {
    int locked = 0;
    Path folder = Path.of("/proc/" + pid + "/fdinfo");
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
      for (Path file : files) {
        try {
          if (Files.readString(file).contains("\nlock:")) {
            locked++;
          }
        } catch (NoSuchFileException closedMeanwhile) {
          // Descriptors come and go.
        }
      }
    } catch (UncheckedIOException | NoSuchFileException gone) {
      throw new IOException("process " + pid + " is gone", gone);
    }
    return locked;
  }
}
