package org.understudy.daemon;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.understudy.libvirt.Finding;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.LifecycleEvent;
import org.understudy.libvirt.NetworkFilters;
import org.understudy.libvirt.Preflight;
import org.understudy.libvirt.QemuConf;
import org.understudy.ssh.ControlException;
import org.understudy.ssh.TrustedPeer;

/** The guests of this host that are protected. */
final class Protections {
  private static final Duration ASK = Duration.ofSeconds(10);
  private static final long WATCH_MS = 500;

  private final ThisHost host;
  private final Generations generations;
  private final Map<UUID, Protection> running = new ConcurrentHashMap<>();

  Protections(ThisHost host, Generations generations) {
    this.host = host;
    this.generations = generations;
    host.libvirt()
        .listen(
            new LifecycleEvent.Listener() {
              @Override
              public void changed(LifecycleEvent event) {
                Protection protection = running.get(event.uuid());
                if (protection != null) {
                  lived(protection, event);
                }
              }
            });
    Thread watch = new Thread(this::watchForStalls, "protection-watch");
    watch.setDaemon(true);
    watch.start();
  }

  private void lived(Protection protection, LifecycleEvent event) {
    switch (event.change()) {
      case SHUT_DOWN, DESTROYED, MIGRATED, SAVED ->
          protection.guestEnded("the guest was " + words(event));
      case REVERTED -> protection.guestEnded("the guest went back to a snapshot");
      case CRASHED -> protection.guestEnded("the guest panicked and its on_crash ended it");
      case PANICKED -> protection.guestPanicked();
      case RESET -> host.events().add(event.domain(), "the guest was reset, protection goes on");
      case FAILED -> host.events().add(event.domain(), "the guest is gone: its QEMU failed");
      case DEFINED -> protection.definedAnew();
      case STARTED, SUSPENDED, RESUMED, OTHER -> {}
    }
  }

  private static String words(LifecycleEvent event) {
    return event.change().toString().toLowerCase(Locale.ROOT).replace('_', ' ');
  }

  /** Each protection's own thread may hang in a call of libvirt's. */
  private void watchForStalls() {
    try {
      while (true) {
        Thread.sleep(WATCH_MS);
        running.values().forEach(Protection::lookForStall);
      }
    } catch (InterruptedException e) {
      // the daemon ends
    }
  }

  /**
   * Protects a running domain.
   *
   * @throws IOException with one sentence why not; nothing was changed then
   */
  Protection protect(String name, String standby, Ownership.Settings settings) throws IOException {
    LibvirtDomain domain = host.libvirt().domain(name);
    Protection there = running.get(domain.uuid());
    if (there != null && !there.isEnded()) {
      throw new IOException(
          "domain "
              + domain.name()
              + " is protected already, by standby host "
              + there.ownership().peer());
    }
    TrustedPeer peer = host.trusted().named(standby);
    if (standby.equals(host.name())) {
      throw new IOException("host " + standby + " is this host; a standby has to be another one");
    }
    List<Finding> findings =
        new ArrayList<>(Preflight.check(domain, QemuConf.of(host.config().libvirtUri())));
    if (settings.holdOutput() && Finding.allows(findings)) {
      findings.addAll(NetworkFilters.check(domain));
    }
    for (Finding finding : findings) {
      if (finding instanceof Finding.Refused) {
        throw new IOException(finding.sentence());
      }
      host.events().add(domain.name(), "warning: " + finding.sentence());
    }
    Ownership mine = owned(domain, peer, settings);
    synchronized (this) { // the watch must not find the record without its protection
      host.ownership().write(mine);
      takeAutostart(domain, mine);
      return begin(domain, mine);
    }
  }

  /** The guest's record as it is protected from here, after the standby host has agreed. */
  private Ownership owned(LibvirtDomain domain, TrustedPeer peer, Ownership.Settings settings)
      throws IOException {
    Ownership known = host.ownership().read(domain.uuid()).orElse(null);
    boolean ours = known == null || known.role().owns();
    boolean autostart = domain.autostart() || (known != null && ours && known.autostart());
    Ownership mine =
        new Ownership(
            domain.uuid(),
            domain.name(),
            known == null ? 1 : known.generation(),
            host.name(),
            Ownership.Role.PRIMARY,
            peer.name(),
            settings,
            0,
            autostart);
    Generations.Word word = generations.ask(peer.name(), domain.uuid(), ASK);
    if (!ours && !known.owner().equals(peer.name())) {
      throw new IOException(
          "host %s owns domain %s (generation %d); if it does not run there, run: understudy claim %s"
              .formatted(known.owner(), domain.name(), known.generation(), domain.name()));
    }
    if (ours && !word.newerThan(mine.generation())) {
      return mine;
    }
    // It runs here, so it was brought here: the other host has to agree that it is not its own.
    try {
      return generations.claim(mine, peer.name(), false).as(Ownership.Role.PRIMARY);
    } catch (ControlException e) {
      throw new IOException(
          "host %s owns generation %d of domain %s and does not give it up: %s"
              .formatted(peer.name(), word.generation(), domain.name(), e.getMessage()),
          e);
    }
  }

  /** A host that comes back must not start the guest by itself: libvirt's autostart is ours now. */
  private void takeAutostart(LibvirtDomain domain, Ownership mine) throws IOException {
    if (mine.autostart() && domain.persistentXml() != null && domain.autostart()) {
      domain.autostart(false);
      host.events()
          .add(
              domain.name(),
              "libvirt's autostart is switched off while it is protected; understudyd starts it with"
                  + " the host, once host "
                  + mine.peer()
                  + " says that it has not taken over");
    }
  }

  private Protection begin(LibvirtDomain domain, Ownership mine) {
    Protection protection = new Protection(host, domain, mine);
    running.put(domain.uuid(), protection);
    protection.start();
    return protection;
  }

  /**
   * Ends a protection and the standby of it; the guest runs on. The standby is told first: one that
   * hears neither link nor guard any more, and does not know why, would take the guest over.
   *
   * @param force end it although the standby cannot be told
   */
  void unprotect(String name, boolean force) throws IOException, InterruptedException {
    Protection protection = named(name);
    Ownership mine = protection.ownership();
    boolean told = true;
    if (!protection.isEnded()) {
      try {
        generations.release(mine);
      } catch (IOException e) {
        if (!force) {
          throw new IOException(
              "standby host "
                  + mine.peer()
                  + " could not be told ("
                  + e.getMessage()
                  + ") and might take domain "
                  + mine.domainName()
                  + " over; it stays protected. If understudyd"
                  + " is stopped there for good, use --force");
        }
        told = false;
      }
    }
    end(protection, told ? Ownership.Role.ENDING : Ownership.Role.OWNER);
    host.events().add(mine.domainName(), "unprotected");
  }

  /**
   * Stops a protection whose standby was told to let go. It is told once more afterwards: until it
   * stops, a protection that lost its link has the standby prepared anew.
   */
  private void end(Protection protection, Ownership.Role role)
      throws IOException, InterruptedException {
    protection.stop();
    UUID domain = protection.domain().uuid();
    Ownership known = host.ownership().read(domain).orElse(null);
    if (known != null && known.role() == Ownership.Role.PRIMARY) {
      if (role == Ownership.Role.ENDING) {
        try {
          generations.release(known);
        } catch (IOException e) {
          host.events().add(known.domainName(), "will be told again: " + e.getMessage());
        }
      }
      host.ownership().writeIf(known, known.as(role));
    }
    running.remove(domain);
  }

  /** Another host owns the guest now: a protection of it that this host still has ends. */
  void lose(UUID domain, String owner) throws InterruptedException {
    Protection protection = running.remove(domain);
    if (protection != null) {
      protection.stop();
      host.events().add(protection.domain().name(), "host " + owner + " owns the guest now");
    }
  }

  /** Gives up a protection that never came to be. */
  void abandon(Protection protection) throws InterruptedException, IOException {
    try {
      generations.release(protection.ownership());
    } catch (IOException e) {
      // It never was told to follow, or cannot be reached: without a committed epoch it starts
      // nothing.
    }
    end(protection, Ownership.Role.ENDING);
  }

  /** The protection of a domain. */
  Protection named(String nameOrUuid) throws IOException {
    for (Protection protection : running.values()) {
      if (protection.domain().name().equals(nameOrUuid)
          || protection.domain().uuid().toString().equals(nameOrUuid)) {
        return protection;
      }
    }
    throw new IOException("domain " + nameOrUuid + " is not protected here");
  }

  /** The protection of a domain, which may have ended, or null. */
  Protection of(UUID domain) {
    return running.get(domain);
  }

  /** Goes on with a protection whose guest runs again, if {@code known} is still how things are. */
  synchronized void goOn(LibvirtDomain domain, Ownership known) throws IOException {
    boolean stale = !host.ownership().read(known.domain()).equals(Optional.of(known));
    if (stale || running.containsKey(known.domain())) {
      return;
    }
    host.events().add(known.domainName(), "protection goes on");
    takeAutostart(domain, known);
    begin(domain, known);
  }

  /** All of them. */
  List<Protection> all() {
    return List.copyOf(running.values());
  }

  /**
   * After a start of the daemon: goes on with what an earlier one protected and what runs here.
   * {@link OwnershipWatch} looks after the rest.
   */
  void resume() throws IOException {
    for (Ownership known : host.ownership().all()) {
      if (known.role() != Ownership.Role.PRIMARY) {
        continue;
      }
      LibvirtDomain domain = host.libvirt().domainOrNull(known.domain());
      if (domain != null && domain.state().run().active()) {
        goOn(domain, known);
      } else {
        host.events().add(known.domainName(), "was protected and does not run here");
      }
    }
  }
}
