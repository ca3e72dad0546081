package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import org.understudy.capture.CaptureOutcome;
import org.understudy.capture.CaptureSettings;
import org.understudy.capture.EpochCapture;
import org.understudy.capture.GuestMonitor;
import org.understudy.capture.RamMap;
import org.understudy.dirtylog.DirtyLog;
import org.understudy.dirtylog.DirtyLogs;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.libvirt.Finding;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.LibvirtGuestMonitor;
import org.understudy.libvirt.LiveConfiguration;
import org.understudy.libvirt.NetworkFilters;
import org.understudy.libvirt.Preflight;
import org.understudy.libvirt.PrimaryDomain;
import org.understudy.ssh.HostPort;
import org.understudy.ssh.TrustedPeer;

/**
 * Everything that is attached to one running QEMU: its dirty log, its guard, the capture; and what
 * the standby has acknowledged of it. Survives the link. Used by the capture thread, but for {@link
 * #describe} and what the guard is told.
 */
final class CaptureSession implements AutoCloseable {
  /** The guest has become one that cannot be protected; that may pass. */
  static final class Unfit extends IOException {
    private static final long serialVersionUID = 1;

    Unfit(String sentence) {
      super(sentence);
    }
  }

  /** The guest has other devices or RAM blocks than its standby, which has to be made anew. */
  static final class Reconfigured extends IOException {
    private static final long serialVersionUID = 1;

    Reconfigured(String sentence) {
      super(sentence);
    }
  }

  private final LibvirtDomain domain;
  private final GuestMonitor monitor;
  private final GuestMapping mapping;
  private final LiveConfiguration configuration;
  private final DirtyLog log;
  private final GuardLine guard;
  private final EpochCapture capture;
  private final OutputHold hold; // null where it was not asked for
  private final RollbackWindow window;
  private final PageSet unacknowledged;
  private volatile PrimaryDomain primary;
  private boolean nothingSent = true;
  private volatile long acknowledged;
  private volatile StandbyLink link;

  private CaptureSession(
      ThisHost host,
      LibvirtDomain domain,
      GuestMonitor monitor,
      GuestMapping mapping,
      GuardLine guard,
      OutputHold hold,
      RollbackWindow window)
      throws IOException {
    this.domain = domain;
    this.monitor = monitor;
    this.hold = hold;
    this.window = window;
    this.mapping = mapping;
    this.guard = guard;
    primary = PrimaryDomain.of(domain);
    configuration = new LiveConfiguration(domain, primary);
    unacknowledged = new PageSet(mapping.layout().pages());
    log = DirtyLogs.open(mapping);
    int slab = Math.toIntExact(Math.min(1 << 30, host.config().protect().stagingBytes()));
    try {
      capture =
          new EpochCapture(
              monitor,
              mapping,
              log,
              hold == null ? guard.pauses() : hold.around(guard.pauses()),
              configuration,
              CaptureSettings.ofSlab(slab));
    } catch (IOException | RuntimeException e) {
      log.close();
      throw e;
    }
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
    GuestReadiness guest = GuestReadiness.of(domain);
    if (guest.kind() == GuestReadiness.Kind.BUSY) {
      throw new IOException(guest.sentence());
    }
    LibvirtGuestMonitor monitor = new LibvirtGuestMonitor(domain);
    GuestMapping mapping = RamMap.survey(monitor, domain.pid());
    LeftInQemu.clear(host, domain, monitor, mapping.pid());
    GuardLine guard = GuardLine.open(host, domain, mapping.pid(), guards.host(), guards.port());
    OutputHold hold = null;
    try {
      hold = output(host, domain, guard, mapping.pid(), mine);
      CaptureSession opened =
          new CaptureSession(host, domain, monitor, mapping, guard, hold, window);
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
                  + opened.log.method());
      return opened;
    } catch (IOException | RuntimeException e) {
      if (hold != null) {
        hold.close();
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

  /**
   * Takes the description of the guest anew, for a standby that is made of it.
   *
   * @throws Unfit the guest is, for now, one that cannot be protected
   * @throws IOException QEMU is another one, or has other RAM blocks: attach anew
   */
  void describeAnew() throws IOException {
    GuestReadiness guest = GuestReadiness.of(domain);
    if (guest.kind() == GuestReadiness.Kind.BUSY) {
      throw new Unfit(guest.sentence());
    }
    if (!isQemuThere() || !RamMap.unchanged(monitor, layout())) {
      throw new IOException(
          "QEMU of domain " + domain.name() + " has other RAM blocks now; everything is copied");
    }
    for (Finding finding : Preflight.again(domain)) {
      if (finding instanceof Finding.Refused) {
        throw new Unfit(finding.sentence());
      }
    }
    PrimaryDomain now = PrimaryDomain.of(domain);
    if (hold != null && !now.devices().equals(primary.devices())) {
      throw new IOException(
          "the devices of domain " + domain.name() + " changed while its output is held");
    }
    primary = now;
    configuration.expect(primary);
  }

  /** The domain's next start will be another one; any thread. */
  void definedAnew() {
    configuration.definedAnew();
  }

  /** Whether the description has changed in what no QEMU depends on. */
  boolean descriptionIsStale() {
    return configuration.isStale();
  }

  /** Whether the QEMU that this is attached to still runs. */
  boolean isQemuThere() {
    try {
      return domain.pid() == mapping.pid();
    } catch (IOException e) {
      return false;
    }
  }

  LibvirtDomain domain() {
    return domain;
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

  /** Whether the guest's configuration ends it when it panics. */
  boolean endsWhenPanicked() {
    return primary.endsWhenPanicked();
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
