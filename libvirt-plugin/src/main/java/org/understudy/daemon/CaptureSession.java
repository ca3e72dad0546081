package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import org.understudy.capture.CaptureOutcome;
import org.understudy.capture.CaptureSettings;
import org.understudy.capture.EpochCapture;
import org.understudy.capture.RamMap;
import org.understudy.dirtylog.DirtyLog;
import org.understudy.dirtylog.DirtyLogs;
import org.understudy.fault.FaultPoint;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.LibvirtGuestMonitor;
import org.understudy.libvirt.NetworkFilters;
import org.understudy.libvirt.PrimaryDomain;
import org.understudy.ssh.HostPort;
import org.understudy.ssh.TrustedPeer;

/**
 * Everything that is attached to one running QEMU: its dirty log, its guard, the capture; and what
 * the standby has acknowledged of it. Survives the link. Used by the capture thread, but for {@link
 * #describe}.
 */
final class CaptureSession implements AutoCloseable {
  private final GuestMapping mapping;
  private final PrimaryDomain primary;
  private final DirtyLog log;
  private final GuardLine guard;
  private final EpochCapture capture;
  private final OutputHold hold; // null where it was not asked for
  private final RollbackWindow window;
  private final PageSet unacknowledged;
  private boolean nothingSent = true;
  private volatile long acknowledged;
  private volatile StandbyLink link;

  private CaptureSession(
      GuestMapping mapping,
      PrimaryDomain primary,
      DirtyLog log,
      GuardLine guard,
      EpochCapture capture,
      OutputHold hold,
      RollbackWindow window) {
    this.window = window;
    this.mapping = mapping;
    this.primary = primary;
    this.log = log;
    this.guard = guard;
    this.capture = capture;
    this.hold = hold;
    unacknowledged = new PageSet(mapping.layout().pages());
  }

  /**
   * Attaches to the domain's QEMU.
   *
   * @param window hears of every epoch
   * @throws IOException with a sentence; nothing is left attached
   */
  static CaptureSession open(
      ThisHost host, LibvirtDomain domain, Ownership mine, RollbackWindow window)
      throws IOException {
    TrustedPeer standby = host.trusted().named(mine.peer());
    HostPort guards = StandbyLink.guardAddress(host, standby);
    LibvirtGuestMonitor monitor = new LibvirtGuestMonitor(domain);
    GuestMapping mapping = RamMap.survey(monitor, domain.pid());
    LeftInQemu.clear(host, domain, monitor, mapping.pid());
    PrimaryDomain primary = PrimaryDomain.of(domain);
    FaultPoint.GUEST_SURVEYED.reached();
    GuardLine guard = GuardLine.open(host, domain, mapping.pid(), guards.host(), guards.port());
    FaultPoint.GUARD_ATTACHED.reached();
    DirtyLog log = null;
    OutputHold hold = null;
    try {
      hold = output(host, domain, guard, mapping.pid(), mine);
      log = DirtyLogs.open(mapping);
      FaultPoint.LOG_ARMED.reached();
      int slab = Math.toIntExact(Math.min(1 << 30, host.config().protect().stagingBytes()));
      EpochCapture capture =
          new EpochCapture(
              monitor,
              mapping,
              log,
              hold == null ? guard.pauses() : hold.around(guard.pauses()),
              CaptureSettings.ofSlab(slab));
      host.events()
          .add(
              domain.name(),
              "watching QEMU "
                  + mapping.pid()
                  + ", "
                  + Table.bytes(mapping.layout().bytes())
                  + " in "
                  + mapping.layout().blocks().size()
                  + " RAM blocks, dirty log "
                  + log.method());
      return new CaptureSession(mapping, primary, log, guard, capture, hold, window);
    } catch (IOException | RuntimeException e) {
      if (hold != null) {
        hold.close();
      }
      if (log != null) {
        log.close();
      }
      guard.close();
      throw e;
    }
  }

  private static OutputHold output(
      ThisHost host, LibvirtDomain domain, GuardLine guard, int qemuPid, Ownership mine)
      throws IOException {
    if (mine.settings().holdOutput()) {
      return OutputHold.open(host, domain, guard, qemuPid);
    }
    NetworkFilters.removeLeftovers(domain);
    return null;
  }

  GuestLayout layout() {
    return mapping.layout();
  }

  String machine() {
    return primary.machine();
  }

  /** What to ask of the standby host. */
  GuestOrder order(Ownership mine) {
    return new GuestOrder(
        primary,
        mine.generation(),
        mine.settings(),
        layout(),
        guard.session(),
        guard.key(),
        mine.autostart());
  }

  /**
   * Tells the guard that the guest ended because somebody asked for it; the guard finds out by
   * itself, only later.
   */
  void endsOnPurpose() {
    try {
      guard.endsOnPurpose();
    } catch (IOException e) {
      // the guard asks libvirt
    }
  }

  /** Ends for good what outlives this: the guard, and the holder of the guest's output. */
  void finish() {
    if (hold != null) {
      hold.finish();
    }
    try {
      guard.finish();
    } catch (IOException e) {
      // It is gone already.
    }
  }

  /**
   * A guest that has ended asks nothing of its standby any more: what is asked for it would disturb
   * the failover there.
   *
   * @throws IOException QEMU has ended
   */
  void checkAlive() throws IOException {
    if (ProcessHandle.of(mapping.pid()).isEmpty()) {
      throw new IOException("the guest's QEMU " + mapping.pid() + " has ended");
    }
  }

  CaptureOutcome captureInto(EpochSink sink, long epoch) {
    nothingSent = false;
    window.begun(epoch);
    if (hold != null) {
      hold.begun(epoch);
    }
    return capture.captureInto(sink, epoch);
  }

  /** Epoch {@code epoch} is durable on the standby; any thread. */
  void committed(long epoch) {
    window.committed(epoch);
    if (hold != null) {
      hold.committed(epoch);
    }
  }

  void captureAgain(PageSet pages) {
    capture.captureAgain(pages);
  }

  long acknowledgedEpoch() {
    return acknowledged;
  }

  void acknowledged(long epoch) {
    acknowledged = epoch;
  }

  /** Pages given to a link that is gone and not known to be durable. */
  PageSet unacknowledged() {
    return unacknowledged;
  }

  /**
   * What a standby that has {@code standbyEpoch} lacks: the unacknowledged pages if it is where we
   * left it, everything otherwise. Forgets the unacknowledged pages.
   */
  PageSet missingSince(long standbyEpoch) {
    PageSet missing = new PageSet(layout().pages());
    if (!nothingSent && standbyEpoch >= acknowledged && acknowledged > 0) {
      missing.addAll(unacknowledged);
    } else {
      missing.fill();
    }
    unacknowledged.clear();
    return missing;
  }

  void linked(StandbyLink now) {
    link = now;
  }

  /** Whether what the guest sends waits for its commit at this moment; any thread. */
  boolean outputIsHeld() {
    return hold != null && hold.held();
  }

  /** Adds figures for status; any thread. */
  void describe(ObjectNode json) {
    json.put("dirtyLog", log.method()).put("qemuPid", mapping.pid());
    json.put("ramBytes", layout().bytes()).put("guardSession", guard.session().toString());
    if (hold != null) {
      hold.describe(json);
    }
    StandbyLink now = link;
    if (now != null) {
      json.put("acknowledged", now.sender().acknowledged());
      json.put("wireBytes", now.sender().wireBytes()).put("rawBytes", now.sender().rawBytes());
      json.put("linkSilentMs", now.sender().silentMs());
      json.put("linkBlockedMs", now.sender().blockedNs() / 1_000_000);
    }
  }

  @Override
  public void close() {
    if (hold != null) {
      hold.close();
    }
    capture.close();
    log.close();
    guard.close();
  }
}
