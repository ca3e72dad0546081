package org.understudy.standby;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;

/** The standby's QEMU as the kernel shows it in /proc, whatever its monitors say. */
public final class StandbyProcess {
  private final int pid;
  private final PresenceProbe presence;

  private StandbyProcess(int pid, PresenceProbe presence) {
    this.pid = pid;
    this.presence = presence;
  }

  /** A process whose RAM blocks' addresses are not known. */
  public static StandbyProcess of(int pid) {
    return new StandbyProcess(pid, null);
  }

  /**
   * A process with the addresses of its RAM blocks.
   *
   * @param own a survey of the standby's own process, made before it was armed
   * @param layout the guest's, whose blocks may have other used lengths and another order; where
   *     one is missing in the survey the addresses count as not known
   */
  public static StandbyProcess of(GuestMapping own, GuestLayout layout) {
    long[] addresses = new long[layout.blocks().size()];
    for (int i = 0; i < addresses.length; i++) {
      int block = own.layout().blockNamed(layout.blocks().get(i).name());
      if (block < 0) {
        return of(own.pid());
      }
      addresses[i] = own.hostAddress()[block];
    }
    return new StandbyProcess(
        own.pid(), new PagemapPresence(new GuestMapping(own.pid(), layout, addresses)));
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
