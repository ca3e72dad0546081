package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.understudy.capture.PauseTiming;
import org.understudy.libvirt.GuestClock;
import org.understudy.libvirt.LibvirtFault;

/**
 * What a protected guest's clock has lost to our pauses: it stands still in them. Each time that
 * another half second is lost, a thread {@code clock-NAME} has the guest's agent, where there is
 * one, set it right.
 */
final class ClockLoss {
  private static final long WORTH_SETTING_NS = 500_000_000;

  /** A clock that is behind by more than we took from it, and this, keeps a time of its own. */
  private static final long OTHER_REASONS_MS = 1000;

  private final ThisHost host;
  private final String name;
  private final GuestClock clock;
  private final AtomicBoolean setting = new AtomicBoolean();
  private final long sinceNs = System.nanoTime();
  private long lostNs; // under this
  private long unsetNs; // under this: lost since the clock was last right
  private int sets; // under this
  private String agent = "not asked yet"; // under this

  ClockLoss(ThisHost host, String name, GuestClock clock) {
    this.host = host;
    this.name = name;
    this.clock = clock;
  }

  /** The guest has just gone through these pauses. */
  void add(List<PauseTiming> pauses) {
    long unset;
    synchronized (this) {
      for (PauseTiming pause : pauses) {
        lostNs += pause.pausedNs();
        unsetNs += pause.pausedNs();
      }
      unset = unsetNs;
    }
    if (unset >= WORTH_SETTING_NS && setting.compareAndSet(false, true)) {
      Thread thread = new Thread(() -> catchUp(unset), "clock-" + name);
      thread.setDaemon(true);
      thread.start();
    }
  }

  private void catchUp(long unset) {
    try {
      String found;
      boolean set = false;
      if (clock.hasAgent()) {
        GuestClock.Found was = clock.catchUp(unset / 1_000_000 + OTHER_REASONS_MS);
        set = was.set();
        found = (was.set() ? "set when " : "left at ") + was.behindMs() + " ms behind";
      } else {
        found = "none connected, the guest has to keep its clock itself";
      }
      note(found, set, unset);
    } catch (LibvirtFault e) {
      note(e.getMessage(), false, unset);
    } finally {
      setting.set(false);
    }
  }

  private synchronized void note(String found, boolean set, long unset) {
    if (set && sets == 0) {
      host.events().add(name, "the guest's clock was " + found + " through its agent");
    }
    unsetNs -= unset;
    sets += set ? 1 : 0;
    agent = found;
  }

  /** Adds figures for status; any thread. */
  synchronized void describe(ObjectNode json) {
    json.put("clockLostMs", lostNs / 1_000_000);
    json.put("clockLostPpm", lostNs * 1_000_000 / Math.max(1, System.nanoTime() - sinceNs));
    json.put("clockSets", sets).put("clockAgent", agent);
  }
}
