package org.understudy.daemon;

import org.understudy.libvirt.GuestClock;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.LibvirtFault;

/**
 * A guest's clock after a failover: it is as late as the epoch that was resumed. The thread {@code
 * clock-NAME} waits a minute for the guest's agent to set it.
 */
final class ClockCatchUp {
  private static final long PATIENCE_NS = 60_000_000_000L;
  private static final long LOOK_MS = 250;

  /** A clock that is behind by more keeps another time on purpose. */
  private static final long AT_MOST_MS = 3_600_000;

  private final ThisHost host;
  private final LibvirtDomain domain;
  private volatile String result = "behind, waiting for the guest's agent";

  private ClockCatchUp(ThisHost host, LibvirtDomain domain) {
    this.host = host;
    this.domain = domain;
  }

  /** Begins for a guest that has just been promoted. */
  static ClockCatchUp start(ThisHost host, LibvirtDomain domain) {
    ClockCatchUp begun = new ClockCatchUp(host, domain);
    Thread thread = new Thread(begun::run, "clock-" + domain.name());
    thread.setDaemon(true);
    thread.start();
    return begun;
  }

  /** What has become of it, for status. */
  String result() {
    return result;
  }

  private void run() {
    GuestClock clock = new GuestClock(domain);
    long deadlineNs = System.nanoTime() + PATIENCE_NS;
    String why = "no agent is connected";
    try {
      while (System.nanoTime() - deadlineNs < 0) {
        try {
          if (clock.hasAgent()) {
            GuestClock.Found was = clock.catchUp(AT_MOST_MS);
            end(
                was.set()
                    ? "was " + was.behindMs() + " ms behind, set through the guest's agent"
                    : "left alone, " + was.behindMs() + " ms behind");
            return;
          }
        } catch (LibvirtFault notYet) {
          why = notYet.getMessage();
        }
        Thread.sleep(LOOK_MS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    end("behind by the time since the resumed epoch, the guest has to correct it: " + why);
  }

  private void end(String found) {
    result = found;
    host.events().add(domain.name(), "the guest's clock: " + found);
  }
}
