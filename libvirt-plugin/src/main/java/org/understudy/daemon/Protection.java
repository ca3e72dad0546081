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
import org.understudy.link.Goodbye;

/**
 * The protection of one guest, on the host where it runs: captures an epoch at every interval and
 * sends it to the standby. Whatever fails on the way, the guest runs on, and this tries again. One
 * thread, {@code capture-NAME}, does all of it; others only ask for status or for an end.
 */
final class Protection {
  private static final Logger log = LoggerFactory.getLogger(Protection.class);
  private static final long RETRY_MS = 1000;
  private static final int EPOCHS_ON_THE_WAY = 2;
  private static final long ACKNOWLEDGE_MS = 60_000;

  /** What the protection is doing. */
  enum State {
    /** Reaching the standby host and getting everything ready. */
    CONNECTING,
    /** The first, whole copy is on its way. */
    COPYING,
    /** Epochs are committed on the standby. */
    PROTECTED,
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
  private CaptureSession session;

  // the capture thread's own
  private long nextEpoch = 1;

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
      enter(State.ENDED, how);
      if (session != null) {
        session.endsOnPurpose();
      }
      lock.notifyAll();
    }
    thread.interrupt();
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
          enter(State.ENDED, "unprotected");
        }
      }
      ended.countDown();
    }
  }

  /**
   * Captures and sends until the guest, its layout or we end; the link may come and go meanwhile.
   */
  private void follow(CaptureSession capture) throws IOException, InterruptedException {
    while (!isStopping()) {
      capture.checkAlive();
      try (StandbyLink link = StandbyLink.open(host, ownership(), capture)) {
        PageSet missing = link.missingPages();
        capture.captureAgain(missing);
        nextEpoch = Math.max(nextEpoch, link.standbyEpoch() + 1);
        if (link.standbyEpoch() == 0) {
          enterUnderLock(State.COPYING, "");
        } // else the standby has an old state; protected is only who has committed the present one
        try {
          send(capture, link);
        } finally {
          link.rememberUnacknowledged();
        }
      } catch (StandbyLink.Broken e) {
        degrade(e.getMessage());
      }
      pause(RETRY_MS);
    }
  }

  private void send(CaptureSession capture, StandbyLink link)
      throws IOException, InterruptedException {
    EpochPace pace = new EpochPace(ownership().settings().intervalMs(), System::nanoTime);
    while (!isStopping()) {
      Switchover planned = awaitDue(pace);
      if (planned != null) {
        enterUnderLock(State.SWITCHING, "switchover to " + ownership().peer());
        carryOut(planned, capture, link);
        return;
      }
      pace.began();
      epoch(capture, link);
    }
    link.goodbye(Goodbye.PROTECTION_ENDS, "protection of " + domain.name() + " ends");
  }

  private void epoch(CaptureSession capture, StandbyLink link)
      throws IOException, InterruptedException {
    long epoch = nextEpoch++;
    CaptureOutcome outcome = capture.captureInto(link.sink(), epoch);
    clock.add(outcome.pauses());
    if (outcome instanceof CaptureOutcome.Discarded discarded) {
      discarded(discarded, link);
      return;
    }
    // Two epochs may be on their way; a link that is slower than that stretches the interval.
    link.awaitAcknowledged(epoch - EPOCHS_ON_THE_WAY + 1, ACKNOWLEDGE_MS);
    if (state() != State.PROTECTED) {
      link.awaitAcknowledged(epoch, ACKNOWLEDGE_MS);
      host.events().add(domain.name(), "epoch " + epoch + " is committed on " + ownership().peer());
    }
    CaptureOutcome.Committed committed = (CaptureOutcome.Committed) outcome;
    log.debug(
        "{} epoch {}: {} pages in {} rounds, last {}",
        domain.name(),
        epoch,
        committed.pages(),
        committed.pauses().size(),
        committed.pauses().get(committed.pauses().size() - 1));
    synchronized (lock) {
      latest = committed;
      if (state != State.PROTECTED && state != State.ENDED) {
        enter(State.PROTECTED, "");
      }
    }
  }

  private void discarded(CaptureOutcome.Discarded discarded, StandbyLink link) throws IOException {
    String sentence = "epoch " + discarded.epoch() + " discarded: " + discarded.reason();
    host.events().add(domain.name(), sentence);
    link.check(sentence);
    switch (discarded.fault()) {
      case NOT_CONVERGING, DEADLINE -> {
        // The next epoch may fit; a first copy simply goes on.
        if (state() != State.COPYING) {
          degrade(sentence);
        }
      }
      case NO_GUARD -> {
        link.beginsAgain(sentence);
        throw new IOException(sentence);
      }
      case QEMU, LAYOUT_CHANGED, MEMORY, SINK -> throw new IOException(sentence);
    }
  }

  private void carryOut(Switchover planned, CaptureSession capture, StandbyLink link)
      throws InterruptedException {
    Ownership moved;
    try {
      moved = planned.carryOut(capture, link, nextEpoch++, ownership());
    } catch (IOException e) {
      synchronized (lock) {
        switchover = null;
      }
      if (planned.guestIsLeftPaused()) {
        synchronized (lock) {
          stopping = true;
        }
        enterUnderLock(State.ENDED, e.getMessage());
      } else {
        degrade("switchover failed: " + e.getMessage());
      }
      return;
    }
    synchronized (lock) {
      ownership = moved;
      stopping = true;
      guardEnds = true;
      enter(State.ENDED, "switched over to " + moved.peer());
    }
  }

  /** Waits until the next epoch is due, or less if a switchover is asked for, which it returns. */
  private Switchover awaitDue(EpochPace pace) throws InterruptedException {
    synchronized (lock) {
      for (long wait = pace.waitMs(); wait > 0 && switchover == null && !stopping; ) {
        lock.wait(wait);
        wait = pace.waitMs();
      }
      return switchover;
    }
  }

  private boolean isStopping() {
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

  private void degrade(String why) {
    enterUnderLock(State.DEGRADED, why);
  }

  private void enterUnderLock(State to, String why) {
    synchronized (lock) {
      enter(to, why);
    }
  }

  private void enter(State to, String why) {
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
