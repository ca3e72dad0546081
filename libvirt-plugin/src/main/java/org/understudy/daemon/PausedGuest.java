package org.understudy.daemon;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.understudy.capture.RamMap;
import org.understudy.guest.GuestMapping;
import org.understudy.libvirt.DomainState;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.LibvirtGuestMonitor;
import org.understudy.libvirt.LibvirtStandbyMonitor;
import org.understudy.libvirt.PrimaryDomain;
import org.understudy.libvirt.StandbyDomain;
import org.understudy.standby.StandbyGuest;
import org.understudy.standby.StandbyProcess;
import org.understudy.standby.StandbySettings;

/** The paused QEMU of a standby under libvirt, and the loader that fills it. */
final class PausedGuest implements AutoCloseable {
  private static final long MONITOR_MS = 10_000;

  private final ThisHost host;
  private final LibvirtDomain domain;
  private final LibvirtStandbyMonitor monitor;
  private final StandbyGuest loader;

  private PausedGuest(
      ThisHost host, LibvirtDomain domain, LibvirtStandbyMonitor monitor, StandbyGuest loader) {
    this.host = host;
    this.domain = domain;
    this.monitor = monitor;
    this.loader = loader;
  }

  /** Starts it and makes it ready to take pages. */
  static PausedGuest start(ThisHost host, GuestOrder order) throws IOException {
    LibvirtDomain left = host.libvirt().domainOrNull(order.primary().uuid());
    if (left != null && left.state().run().active()) {
      StandbyDomain.tearDown(left); // an earlier daemon's, of which nobody knows what is in it
    }
    LibvirtDomain domain = StandbyDomain.createPaused(host.libvirt(), order.primary());
    LibvirtStandbyMonitor monitor = new LibvirtStandbyMonitor(domain, MONITOR_MS);
    try {
      checkDevices(order.primary(), domain.devices());
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
      return new PausedGuest(host, domain, monitor, loader);
    } catch (IOException | RuntimeException e) {
      monitor.close();
      StandbyDomain.tearDown(domain);
      throw e;
    }
  }

  /** The device state of other devices could not be loaded. */
  private static void checkDevices(PrimaryDomain primary, List<String> there) throws IOException {
    List<String> missing = new ArrayList<>(primary.devices());
    missing.removeAll(there);
    List<String> surplus = new ArrayList<>(there);
    surplus.removeAll(primary.devices());
    if (!missing.isEmpty()) {
      throw new IOException(
          "the QEMU of domain "
              + primary.name()
              + " has "
              + String.join(", ", missing)
              + ", of which libvirt's XML knows nothing: plugged in behind libvirt's back? Unplug it,"
              + " or restart the guest");
    }
    if (!surplus.isEmpty()) {
      throw new IOException(
          "the QEMU of domain "
              + primary.name()
              + " no longer has "
              + String.join(", ", surplus)
              + ", which libvirt's XML has: is it being unplugged? If it stays so, restart the guest");
    }
  }

  /**
   * Whether an earlier daemon's promotion got as far as a guest that has all its pages. It is then
   * made to run, and made ordinary, if that is what was left to do.
   *
   * @param suspended it shall stay paused
   */
  static boolean wasPromoted(ThisHost host, GuestOrder order, boolean suspended)
      throws IOException {
    LibvirtDomain left = host.libvirt().domainOrNull(order.primary().uuid());
    if (left == null || !left.state().run().active()) {
      return false;
    }
    try (LibvirtStandbyMonitor monitor = new LibvirtStandbyMonitor(left, MONITOR_MS)) {
      if (!monitor.migrationStatus().equals("completed")) {
        return false;
      }
      if (!suspended && left.state().run() == DomainState.Run.PAUSED) {
        monitor.resume();
      }
    }
    ClockCatchUp.start(host, left);
    StandbyDomain.makeOrdinary(host.libvirt(), order.primary().persistentXml());
    return true;
  }

  LibvirtDomain domain() {
    return domain;
  }

  StandbyGuest loader() {
    return loader;
  }

  /**
   * After its promotion: from its next start on it is a domain like any other.
   *
   * @param persistentXml what it is then, or null for a transient domain
   */
  void makeOrdinary(String persistentXml) throws IOException {
    monitor.close();
    StandbyDomain.makeOrdinary(host.libvirt(), persistentXml);
  }

  /** Ends its QEMU. */
  @Override
  public void close() throws IOException {
    loader.close();
    monitor.close();
    StandbyDomain.tearDown(domain);
  }
}
