package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.capture.CaptureOutcome;
import org.understudy.capture.PauseTiming;
import org.understudy.guest.PageSet;
import org.understudy.libvirt.GuestClock;
import org.understudy.libvirt.LibvirtDomain;

/**
 * The protection of one guest, on the host where it runs: captures an epoch at every interval and
 * sends it to the standby. Whatever fails on the way, the guest runs on, and this tries again. One
 * thread, {@code capture-NAME}, does all of it; others only ask for status or for an end.
 */
final class Protection {
  private static final Logger log = LoggerFactory.getLogger(Protection.class);
  private static final long RETRY_MS = 1000;
  private static final long STALL_MS = 5000;

  /** What the protection is doing. */
  enum State {
    /** Reaching the standby host and getting everything ready. */
    CONNECTING,
    /** The first, whole copy is on its way. */
    COPYING,
    /** Epochs are committed on the standby. */
    PROTECTED,
    /** The guest is suspended on purpose; the standby has its state and would come up suspended. */
    SUSPENDED,
    /** No standby can take over the present state; status says why. */
    DEGRADED,
    /** A planned switchover is under way. */
    SWITCHING,
    /** Over; status says why. */
    ENDED
  }

  private final ThisHost host;
  private final LibvirtDomain domain;
  private final ClockLoss clock;
  private final Thread thread;
  private final RollbackWindow window = new RollbackWindow(System::nanoTime);
  private final Object lock = new Object();
  private final CountDownLatch ended = new CountDownLatch(1);
  // under lock
  private Ownership ownership;
  private State state = State.CONNECTING;
  private String reason = "";
  private boolean stopping;
  private boolean guardEnds;
  private Switchover switchover;
  private CaptureOutcome.Committed latest;
  private long latestAtNs;
  private CaptureSession session;

  // the capture thread's own
  private long lastEpoch;

  Protection(ThisHost host, LibvirtDomain domain, Ownership ownership) {
    this.host = host;
    this.domain = domain;
    this.ownership = ownership;
    clock = new ClockLoss(host, domain.name(), new GuestClock(domain));
    thread = new Thread(this::run, "capture-" + domain.name());
    thread.setDaemon(true);
  }

  void start() {
    thread.start();
  }

  LibvirtDomain domain() {
    return domain;
  }

  Ownership ownership() {
    synchronized (lock) {
      return ownership;
    }
  }

  State state() {
    synchronized (lock) {
      return state;
    }
  }

  String reason() {
    synchronized (lock) {
      return reason;
    }
  }

  /**
   * Ends the protection and its guard and waits for it; the guest runs on. The standby has to know
   * before.
   */
  void stop() throws InterruptedException {
    synchronized (lock) {
      stopping = true;
      guardEnds = true;
      lock.notifyAll();
    }
    thread.interrupt();
    ended.await(30, TimeUnit.SECONDS);
  }

  /** Whether the protection is over. */
  boolean isEnded() {
    return ended.getCount() == 0;
  }

  /** The guest was shut down by somebody who meant it: there is nothing left to protect. */
  void guestEnded(String how) {
    synchronized (lock) {
      if (state == State.SWITCHING || stopping) {
        return;
      }
      stopping = true;
      change(State.ENDED, how);
      if (session != null) {
        session.endsOnPurpose();
      }
      lock.notifyAll();
    }
    thread.interrupt();
  }

  /** The guest's persistent configuration changed: the standby will need it after a failover. */
  void definedAnew() {
    synchronized (lock) {
      if (session != null) {
        session.definedAnew();
      }
    }
  }

  /**
   * The guest panicked. If its configuration ends it then, that is no failure of its host: the
   * guard is told before QEMU is gone, for libvirt's answer afterwards is the same as for a dead
   * QEMU.
   */
  void guestPanicked() {
    synchronized (lock) {
      boolean ends = session != null && session.endsWhenPanicked();
      host.events()
          .add(domain.name(), "the guest panicked" + (ends ? ", its on_crash ends it" : ""));
      if (ends) {
        session.endsOnPurpose();
      }
    }
  }

  /**
   * Moves the guest to the standby host without losing anything; returns when it runs there.
   *
   * @throws IOException with a sentence if it could not; the guest then runs here, unless the
   *     sentence says otherwise
   */
  ObjectNode switchover() throws IOException, InterruptedException {
    Switchover asked = new Switchover(host, domain);
    synchronized (lock) {
      if (state != State.PROTECTED) {
        throw new IOException(
            "domain "
                + domain.name()
                + " is "
                + state
                + (reason.isEmpty() ? "" : " (" + reason + ")")
                + "; a switchover needs a committed standby");
      }
      switchover = asked;
      lock.notifyAll();
    }
    return asked.await();
  }

  private void run() {
    try {
      while (!isStopping()) {
        try {
          try (CaptureSession opened = CaptureSession.open(host, domain, ownership(), window)) {
            synchronized (lock) {
              session = opened;
            }
            try {
              follow(opened);
            } finally {
              boolean ends;
              synchronized (lock) {
                session = null;
                ends = guardEnds;
              }
              if (ends) {
                opened.finish();
              }
            }
          }
        } catch (IOException e) {
          degrade(e.getMessage());
        } catch (RuntimeException e) {
          log.error("{}", domain.name(), e);
          degrade(e.toString());
        }
        pause(RETRY_MS);
      }
    } catch (InterruptedException e) {
      // asked to stop
    } finally {
      synchronized (lock) {
        if (state != State.ENDED) {
          change(State.ENDED, "unprotected");
        }
      }
      ended.countDown();
    }
  }

  /**
   * Captures and sends until the guest, its layout or we end; the link may come and go meanwhile,
   * and the guest's devices with it.
   */
  private void follow(CaptureSession capture) throws IOException, InterruptedException {
    while (!isStopping()) {
      capture.checkAlive();
      try {
        capture.describeAnew();
        try (StandbyLink link = StandbyLink.open(host, ownership(), capture)) {
          stream(capture, link);
        }
      } catch (StandbyLink.Broken | CaptureSession.Unfit e) {
        degrade(e.getMessage());
      } catch (CaptureSession.Reconfigured e) {
        degrade(e.getMessage());
        continue;
      }
      pause(RETRY_MS);
    }
  }

  private void stream(CaptureSession capture, StandbyLink link)
      throws IOException, InterruptedException {
    PageSet missing = link.missingPages();
    capture.captureAgain(missing);
    lastEpoch = Math.max(lastEpoch, link.standbyEpoch());
    if (link.standbyEpoch() == 0) {
      enter(
          State.COPYING,
          lastEpoch == 0
              ? ""
              : "everything is copied again; the standby keeps the guest as it was before, up to"
                  + " epoch "
                  + lastEpoch);
    } // else the standby has an old state; protected is only who has committed the present one
    try {
      Switchover planned = new EpochStream(host, this, capture, link).run();
      if (planned != null) {
        enter(State.SWITCHING, "switchover to " + ownership().peer());
        carryOut(planned, capture, link);
      }
    } finally {
      link.rememberUnacknowledged();
    }
  }

  /** Gives out the next epoch's number; for the capture thread. */
  long nextEpoch() {
    return ++lastEpoch;
  }

  /** The last number given out; for the capture thread. */
  long lastEpoch() {
    return lastEpoch;
  }

  /** What an epoch cost the guest's clock. */
  void paused(CaptureOutcome outcome) {
    clock.add(outcome.pauses());
  }

  /** The standby has an epoch of the guest as it is. */
  void committed(CaptureOutcome.Committed committed) {
    synchronized (lock) {
      latest = committed;
      latestAtNs = System.nanoTime();
      if (state != State.PROTECTED && state != State.ENDED) {
        change(State.PROTECTED, "");
      }
    }
  }

  /**
   * Says that no epoch comes through any more, where the capture thread cannot: it hangs in a call.
   * Any thread.
   */
  void lookForStall() {
    long silentMs;
    synchronized (lock) {
      silentMs = (System.nanoTime() - latestAtNs) / 1_000_000;
      if (state != State.PROTECTED
          || silentMs < STALL_MS + 3L * ownership.settings().intervalMs()) {
        return;
      }
    }
    String why = "no epoch was committed for " + silentMs / 1000 + " s";
    try {
      GuestReadiness guest = GuestReadiness.of(domain);
      why += guest.sentence().isEmpty() ? "" : ": " + guest.sentence();
    } catch (IOException e) {
      why += ": " + e.getMessage();
    }
    synchronized (lock) {
      if (state == State.PROTECTED) {
        change(State.DEGRADED, why);
      }
    }
  }

  private void carryOut(Switchover planned, CaptureSession capture, StandbyLink link)
      throws InterruptedException {
    Ownership moved;
    try {
      moved = planned.carryOut(capture, link, nextEpoch(), ownership());
    } catch (IOException e) {
      synchronized (lock) {
        switchover = null;
      }
      if (planned.guestIsLeftPaused()) {
        synchronized (lock) {
          stopping = true;
        }
        enter(State.ENDED, e.getMessage());
      } else {
        degrade("switchover failed: " + e.getMessage());
      }
      return;
    }
    synchronized (lock) {
      ownership = moved;
      stopping = true;
      guardEnds = true;
      change(State.ENDED, "switched over to " + moved.peer());
    }
  }

  /** Waits until the next epoch is due, or less if a switchover is asked for, which it returns. */
  Switchover awaitDue(EpochPace pace) throws InterruptedException {
    synchronized (lock) {
      for (long wait = pace.waitMs(); wait > 0 && switchover == null && !stopping; ) {
        lock.wait(wait);
        wait = pace.waitMs();
      }
      return switchover;
    }
  }

  boolean isStopping() {
    synchronized (lock) {
      return stopping;
    }
  }

  private void pause(long ms) throws InterruptedException {
    long end = System.nanoTime() + ms * 1_000_000;
    synchronized (lock) {
      for (long left = ms; left > 0 && !stopping; ) {
        lock.wait(left);
        left = (end - System.nanoTime()) / 1_000_000;
      }
    }
  }

  void degrade(String why) {
    enter(State.DEGRADED, why);
  }

  void enter(State to, String why) {
    synchronized (lock) {
      change(to, why);
    }
  }

  private void change(State to, String why) {
    if (state == State.ENDED) {
      return;
    }
    if (state != to || !reason.equals(why)) {
      host.events().add(domain.name(), to + (why.isEmpty() ? "" : ": " + why));
    }
    state = to;
    reason = why;
  }

  /** Everything status shows, as one JSON object. */
  ObjectNode status() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    synchronized (lock) {
      json.put("domain", domain.name())
          .put("uuid", domain.uuid().toString())
          .put("role", "primary");
      json.put("state", state.toString()).put("reason", reason);
      json.put("peer", ownership.peer()).put("generation", ownership.generation());
      json.put("intervalMs", ownership.settings().intervalMs());
      json.put("fast", ownership.settings().fast().toString());
      if (latest != null) {
        PauseTiming pause = latest.pauses().get(latest.pauses().size() - 1);
        json.put("epoch", latest.epoch()).put("pages", latest.pages());
        json.put("pausedMs", pause.pausedNs() / 1e6).put("drainMs", pause.openNs() / 1e6);
        json.put("scanMs", pause.scanNs() / 1e6).put("copyMs", pause.copyNs() / 1e6);
        json.put("deviceStateMs", pause.deviceStateNs() / 1e6);
        json.put("deviceStateBytes", pause.deviceStateBytes());
      }
      window.describe(json, session != null && session.outputIsHeld());
      clock.describe(json);
      if (session != null) {
        session.describe(json);
      }
    }
    return json;
  }
}
