package org.understudy.daemon;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.understudy.capture.RamMap;
import org.understudy.failover.PromotionReport;
import org.understudy.fault.FaultPoint;
import org.understudy.guest.GuestMapping;
import org.understudy.libvirt.DomainState;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.LibvirtGuestMonitor;
import org.understudy.libvirt.LibvirtStandbyMonitor;
import org.understudy.libvirt.ResumeTripwire;
import org.understudy.libvirt.StandbyDomain;
import org.understudy.standby.StandbyGuest;
import org.understudy.standby.StandbyProcess;
import org.understudy.standby.StandbySettings;
import org.understudy.tier.CommittedImage;

/** The paused QEMU of a standby under libvirt, and the loader that fills it. */
final class PausedGuest implements AutoCloseable {
  private static final long MONITOR_MS = 10_000;
  private static final long LIBVIRT_MS = 60_000;

  private final ThisHost host;
  private final GuestOrder order;
  private final LibvirtDomain domain;
  private final LibvirtStandbyMonitor monitor;
  private final StandbyGuest loader;
  private final KeptLine line; // null if it could not be had

  private PausedGuest(
      ThisHost host,
      GuestOrder order,
      LibvirtDomain domain,
      LibvirtStandbyMonitor monitor,
      StandbyGuest loader,
      KeptLine line) {
    this.host = host;
    this.order = order;
    this.domain = domain;
    this.monitor = monitor;
    this.loader = loader;
    this.line = line;
  }

  /** Starts it and makes it ready to take pages. */
  static PausedGuest start(ThisHost host, GuestOrder order) throws IOException {
    LibvirtDomain left = host.libvirt().domainOrNull(order.primary().uuid());
    if (left != null && left.state().run().active()) {
      StandbyDomain.tearDown(left); // an earlier daemon's, of which nobody knows what is in it
    }
    Path recovery = StandbyDomain.recoverySocket(host.libvirt().uri(), order.primary().uuid());
    LibvirtDomain domain;
    try {
      domain = StandbyDomain.createPaused(host.libvirt(), order.primary(), recovery);
    } catch (IOException e) {
      // A security driver may not let QEMU listen there; anything else is refused once more.
      domain = StandbyDomain.createPaused(host.libvirt(), order.primary(), null);
      host.events()
          .add(domain.name(), "warning: started without a monitor of our own: " + e.getMessage());
      recovery = null;
    }
    FaultPoint.STANDBY_STARTED.reached();
    LibvirtStandbyMonitor monitor = new LibvirtStandbyMonitor(domain, MONITOR_MS);
    KeptLine line = null;
    try {
      layTripwire(host, domain);
      line = keptLine(host, domain, recovery);
      // Surveyed before it is armed: reading its memory later would fill it with pages of zeros.
      GuestMapping mapping = RamMap.survey(new LibvirtGuestMonitor(domain), domain.pid());
      Path socket =
          StandbyDomain.streamSocket(
              host.libvirt().uri(), order.primary().uuid(), host.config().host().runDir());
      Files.deleteIfExists(socket);
      StandbyGuest loader =
          StandbyGuest.arm(
              order.layout(),
              order.primary().machine(),
              monitor,
              socket,
              StandbyProcess.of(mapping, order.layout()),
              StandbySettings.defaults());
      FaultPoint.STANDBY_ARMED.reached();
      return new PausedGuest(host, order, domain, monitor, loader, line);
    } catch (IOException | RuntimeException e) {
      if (line != null) {
        line.close();
      }
      monitor.close();
      StandbyDomain.tearDown(domain);
      throw e;
    }
  }

  /** Without it (libvirt's security driver may forbid it) only images tell of a resume. */
  private static void layTripwire(ThisHost host, LibvirtDomain domain) {
    try {
      ResumeTripwire.lay(domain);
    } catch (IOException e) {
      host.events()
          .add(
              domain.name(),
              "a resume of the paused standby is noticed only if the guest has images that are"
                  + " locked: "
                  + e.getMessage());
    }
  }

  private static KeptLine keptLine(ThisHost host, LibvirtDomain domain, Path socket) {
    try {
      if (socket == null) {
        throw new IOException("its QEMU has no monitor of our own");
      }
      return KeptLine.leave(host, domain, socket);
    } catch (IOException e) {
      host.events()
          .add(
              domain.name(),
              "warning: a promotion that is interrupted will be repeated, not finished: "
                  + e.getMessage());
      return null;
    }
  }

  /**
   * Whether an earlier daemon's promotion got as far as a guest that has all its pages. It is then
   * made to run, and made ordinary, if that is what was left to do.
   */
  static boolean wasPromoted(ThisHost host, GuestOrder order) throws IOException {
    LibvirtDomain left = host.libvirt().domainOrNull(order.primary().uuid());
    if (left == null || !left.state().run().active()) {
      return false;
    }
    try (LibvirtStandbyMonitor monitor = new LibvirtStandbyMonitor(left, MONITOR_MS)) {
      if (!monitor.migrationStatus().equals("completed")) {
        return false;
      }
      if (left.state().run() == DomainState.Run.PAUSED) {
        monitor.resume();
      }
    }
    ClockCatchUp.start(host, left);
    KeptLine line = null;
    try {
      line = KeptLine.takeOver(host, left.uuid());
    } catch (IOException none) {
      // There is nothing to end, then.
    }
    makeOrdinary(host, order, left, line);
    return true;
  }

  LibvirtDomain domain() {
    return domain;
  }

  /**
   * Finishes a promotion whose stream broke after the guest had begun to run.
   *
   * @throws IOException it had not, or is lost; or there is no way to tell
   */
  PromotionReport recover(CommittedImage frozen, int[] urgentFirst) throws IOException {
    if (line == null) {
      throw new IOException("there is no line to its QEMU");
    }
    return InterruptedGuest.recover(host, order, line, monitor, frozen, urgentFirst);
  }

  StandbyGuest loader() {
    return loader;
  }

  /** After its promotion: from its next start on it is a domain like any other. */
  void makeOrdinary() throws IOException {
    monitor.close();
    makeOrdinary(host, order, domain, line);
  }

  /** The same for any guest that has all its pages; without a line for {@code line} null. */
  static void makeOrdinary(ThisHost host, GuestOrder order, LibvirtDomain domain, KeptLine line)
      throws IOException {
    try {
      // The guest runs, whatever comes now: an absence of libvirt's is waited for.
      host.libvirt().awaitAnswer(LIBVIRT_MS);
      ResumeTripwire.remove(domain);
      StandbyDomain.makeOrdinary(host.libvirt(), order.primary().persistentXml());
      if (line != null) {
        line.end(domain);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while libvirt was away", e);
    } catch (IOException e) {
      host.events()
          .add(
              domain.name(),
              "warning: it runs, and has the definition of a standby until its next start here: "
                  + e.getMessage());
    }
  }

  /** Ends its QEMU. */
  @Override
  public void close() throws IOException {
    loader.close();
    monitor.close();
    if (line != null) {
      line.close();
    }
    StandbyDomain.tearDown(domain);
  }
}
