package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.io.IOException;
import java.time.Duration;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.capture.CaptureOutcome;
import org.understudy.capture.CaptureOutcome.Committed;
import org.understudy.capture.CaptureOutcome.Discarded;
import org.understudy.link.Goodbye;

/**
 * The epochs of one guest over one link, one at each interval, until link, guest or protection end.
 * A guest that stands still, or that libvirt keeps to itself, only makes them wait. Used by the
 * capture thread.
 */
final class EpochStream {
  private static final Logger log = LoggerFactory.getLogger(EpochStream.class);
  private static final int EPOCHS_ON_THE_WAY = 2;
  private static final long ACKNOWLEDGE_MS = 60_000;
  private static final Duration TELL = Duration.ofSeconds(10);

  /** libvirt's short calls, and a reset after a power-off, are over by then. */
  private static final long PATIENCE_MS = 3000;

  private final ThisHost host;
  private final Protection protection;
  private final CaptureSession capture;
  private final StandbyLink link;
  private long waitingSinceNs;
  private boolean suspended; // and the standby knows

  EpochStream(ThisHost host, Protection protection, CaptureSession capture, StandbyLink link) {
    this.host = host;
    this.protection = protection;
    this.capture = capture;
    this.link = link;
  }

  /**
   * Sends epochs until the protection ends or a switchover is due.
   *
   * @return the switchover that is asked for, or null
   * @throws StandbyLink.Broken the link is gone
   * @throws CaptureSession.Reconfigured the standby has to be made anew
   * @throws IOException QEMU is not what was attached to any more
   */
  Switchover run() throws IOException, InterruptedException {
    EpochPace pace =
        new EpochPace(protection.ownership().settings().intervalMs(), System::nanoTime);
    while (!protection.isStopping()) {
      Switchover planned = protection.awaitDue(pace);
      if (planned != null) {
        return planned;
      }
      pace.began();
      step(GuestReadiness.of(capture.domain()));
    }
    link.goodbye(Goodbye.PROTECTION_ENDS, "protection of " + capture.domain().name() + " ends");
    return null;
  }

  private void step(GuestReadiness guest) throws IOException, InterruptedException {
    link.check("the link to the standby host is gone");
    switch (guest.kind()) {
      case READY -> {
        waitingSinceNs = 0;
        if (suspended) {
          tellSuspended(false);
        }
        epoch();
      }
      case SUSPENDED -> {
        waitingSinceNs = 0;
        if (!suspended && epoch()) {
          link.awaitAcknowledged(protection.lastEpoch(), ACKNOWLEDGE_MS);
          tellSuspended(true);
          protection.enter(
              Protection.State.SUSPENDED,
              guest.sentence() + "; the standby has its state and would come up suspended");
        }
      }
      case STANDS, BUSY -> await(guest.sentence());
    }
  }

  private void await(String why) {
    long now = System.nanoTime();
    if (waitingSinceNs == 0) {
      waitingSinceNs = now;
    } else if (now - waitingSinceNs > PATIENCE_MS * 1_000_000
        && protection.state() != Protection.State.DEGRADED) {
      protection.degrade(why);
    }
  }

  /** The standby shall come up as the guest is left, should it have to. */
  private void tellSuspended(boolean on) throws IOException {
    var request = JsonNodeFactory.instance.objectNode();
    request.put("domain", capture.domain().uuid().toString());
    request.put("epoch", on ? protection.lastEpoch() : 0);
    link.call("suspended", request, TELL);
    suspended = on;
  }

  /** Takes one epoch and sends it; returns whether that was done. */
  private boolean epoch() throws IOException, InterruptedException {
    long epoch = protection.nextEpoch();
    CaptureOutcome outcome = capture.captureInto(link.sink(), epoch);
    protection.paused(outcome);
    if (outcome instanceof Discarded discarded) {
      discarded(discarded);
      return false;
    }
    // Two epochs may be on their way; a link that is slower than that stretches the interval.
    link.awaitAcknowledged(epoch - EPOCHS_ON_THE_WAY + 1, ACKNOWLEDGE_MS);
    if (protection.state() != Protection.State.PROTECTED) {
      link.awaitAcknowledged(epoch, ACKNOWLEDGE_MS);
      host.events()
          .add(
              capture.domain().name(),
              "epoch " + epoch + " is committed on " + protection.ownership().peer());
    }
    Committed committed = (Committed) outcome;
    log.debug(
        "{} epoch {}: {} pages in {} rounds, last {}",
        capture.domain().name(),
        epoch,
        committed.pages(),
        committed.pauses().size(),
        committed.pauses().get(committed.pauses().size() - 1));
    protection.committed(committed);
    if (capture.descriptionIsStale()) {
      capture.describeAnew();
      link.prepareAgain(protection.ownership());
    }
    return true;
  }

  private void discarded(Discarded discarded) throws IOException {
    String sentence = "epoch " + discarded.epoch() + " discarded: " + discarded.reason();
    host.events().add(capture.domain().name(), sentence);
    link.check(sentence);
    switch (discarded.fault()) {
      case NOT_CONVERGING, DEADLINE -> {
        // The next epoch may fit; a first copy simply goes on.
        if (protection.state() != Protection.State.COPYING) {
          protection.degrade(sentence);
        }
      }
      case BUSY -> protection.degrade(sentence);
      case QEMU -> {
        // It may have been in a job that began just now; what was written is still marked.
        if (!capture.isQemuThere()) {
          throw new IOException(sentence);
        }
        protection.degrade(sentence);
      }
      case CONFIGURATION_CHANGED, LAYOUT_CHANGED ->
          throw new CaptureSession.Reconfigured(
              discarded.reason()
                  + "; the standby is made anew, until then it has epoch "
                  + capture.acknowledgedEpoch()
                  + " as it was before");
      case NO_GUARD, MEMORY, SINK -> throw new IOException(sentence);
    }
  }
}
