package org.understudy.standby;

import java.io.IOException;
import java.util.Set;

/**
 * The thread {@code standby-watch}: sees QEMU end, sees that somebody else used the armed standby,
 * and closes the link when QEMU takes nothing any more.
 */
final class StandbyWatch extends Thread {
  /** Looks without an answer after which the standby counts as lost. */
  private static final int SILENT_LOOKS = 5;

  private final StandbyMonitor monitor;
  private final StandbyProcess process;
  private final StreamLink link;
  private final StandbySettings settings;
  private final int lockedFilesAtFirst;
  private final Set<String> capabilitiesAtFirst;
  private StandbyGuest guest;
  private int silentLooks;

  /** Takes the process as it is now for the undisturbed standby. */
  StandbyWatch(
      StandbyMonitor monitor, StandbyProcess process, StreamLink link, StandbySettings settings)
      throws IOException {
    super("standby-watch");
    setDaemon(true);
    this.monitor = monitor;
    this.process = process;
    this.link = link;
    this.settings = settings;
    lockedFilesAtFirst = process.lockedFiles();
    capabilitiesAtFirst = monitor.migrationCapabilities();
  }

  /** Begins to watch. */
  void start(StandbyGuest watched) {
    guest = watched;
    start();
  }

  @Override
  public void run() {
    try {
      while (!interrupted()) {
        link.inbox().awaitEnd(settings.statusIntervalMs());
        link.closeIfBlocked(settings.stallDeadlineMs());
        StandbyState state = guest.state();
        if (state instanceof StandbyState.Armed || state instanceof StandbyState.Following) {
          look();
        } else if (link.inbox().ended() != null) {
          return;
        }
      }
    } catch (InterruptedException given) {
      // The standby was given up.
    }
  }

  private void look() throws InterruptedException {
    StandbyState.Message news = null;
    String ended = link.inbox().ended();
    if (ended != null) {
      news = new StandbyState.Message.Lost("the standby's QEMU is gone: " + ended);
    } else {
      try {
        String disturbed = disturbance();
        if (disturbed == null) {
          disturbed = changedCapabilities();
        }
        silentLooks = 0;
        if (disturbed != null) {
          news = new StandbyState.Message.Disturbed(disturbed);
        }
      } catch (IOException silent) {
        if (++silentLooks >= SILENT_LOOKS) {
          news =
              new StandbyState.Message.Lost(
                  "the standby's monitor gave no answer "
                      + silentLooks
                      + " times: "
                      + silent.getMessage());
        }
      }
    }
    if (news != null && guest.tell(news)) {
      // The state changes in its own thread; there is nothing to look at before.
      Thread.sleep(Math.min(100, settings.statusIntervalMs()));
    }
  }

  /** A sentence if the standby is not as it was armed, or null. */
  String disturbance() throws IOException {
    StandbyStatus status = monitor.standbyStatus();
    if (!status.disturbance().isEmpty()) {
      return "somebody used the armed standby: " + status.disturbance();
    }
    if (!status.runState().equals(StandbyStatus.ARMED)) {
      return "the armed standby is "
          + status.runState()
          + ", expected "
          + StandbyStatus.ARMED
          + ": somebody used it";
    }
    int locked = process.lockedFiles();
    if (locked > lockedFilesAtFirst) {
      return "the armed standby has locked "
          + (locked - lockedFilesAtFirst)
          + " of its files: somebody resumed it";
    }
    return null;
  }

  /**
   * A sentence if QEMU would not load the stream as it was armed to, or null. After a dump or save
   * that QEMU refuses, libvirt sets the capabilities back to its own; without postcopy-ram QEMU
   * takes every missing page for a page of zeros, from LISTEN on.
   */
  String changedCapabilities() throws IOException {
    Set<String> now = monitor.migrationCapabilities();
    return now.equals(capabilitiesAtFirst)
        ? null
        : "the armed standby has migration capabilities "
            + now
            + ", expected "
            + capabilitiesAtFirst
            + ": somebody dumped, saved or migrated it";
  }
}
