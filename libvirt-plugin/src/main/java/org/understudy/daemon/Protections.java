package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.understudy.libvirt.Finding;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.LifecycleEvent;
import org.understudy.libvirt.Preflight;
import org.understudy.libvirt.QemuConf;
import org.understudy.ssh.ControlClient;
import org.understudy.ssh.PeerConnection;
import org.understudy.ssh.TrustedPeer;

/** The guests of this host that are protected. */
final class Protections {
  private static final Duration ASK = Duration.ofSeconds(10);

  private final ThisHost host;
  private final Map<UUID, Protection> running = new ConcurrentHashMap<>();

  Protections(ThisHost host) {
    this.host = host;
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
  }

  private void lived(Protection protection, LifecycleEvent event) {
    switch (event.change()) {
      case SHUT_DOWN, DESTROYED, MIGRATED, SAVED ->
          protection.guestEnded(
              "the guest was " + event.change().toString().toLowerCase(java.util.Locale.ROOT));
      case CRASHED, FAILED ->
          host.events().add(event.domain(), "the guest is gone: " + event.change());
      default -> {}
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
    List<Finding> findings = Preflight.check(domain, QemuConf.of(host.config().libvirtUri()));
    for (Finding finding : findings) {
      if (finding instanceof Finding.Refused) {
        throw new IOException(finding.sentence());
      }
      host.events().add(domain.name(), "warning: " + finding.sentence());
    }
    Ownership known = host.ownership().read(domain.uuid()).orElse(null);
    if (known != null && !known.owner().equals(host.name())) {
      throw new IOException(
          "host "
              + known.owner()
              + " owns domain "
              + domain.name()
              + " (generation "
              + known.generation()
              + "); it must not run here");
    }
    long generation = known == null ? 1 : known.generation();
    Ownership mine =
        new Ownership(
            domain.uuid(),
            domain.name(),
            generation,
            host.name(),
            Ownership.Role.PRIMARY,
            standby,
            settings,
            0);
    checkPeer(peer, mine);
    host.ownership().write(mine);
    return begin(domain, mine);
  }

  /** Whether the standby host is there, trusts us and does not own the guest. */
  private void checkPeer(TrustedPeer peer, Ownership mine) throws IOException {
    ObjectNode answer = askOwner(peer, mine.domain());
    long generation = answer.path("generation").asLong(0);
    if (generation > mine.generation()) {
      throw new IOException(
          "host "
              + peer.name()
              + " knows generation "
              + generation
              + " of domain "
              + mine.domainName()
              + ", owned by "
              + answer.path("owner").asText()
              + "; this host has "
              + mine.generation());
    }
  }

  private ObjectNode askOwner(TrustedPeer peer, UUID domain) throws IOException {
    try (PeerConnection connection = host.peers().connect(peer, ASK);
        ControlClient control = ControlClient.open(connection)) {
      ObjectNode request = JsonNodeFactory.instance.objectNode().put("domain", domain.toString());
      return control.call("owner", request, ASK);
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
    if (!protection.isEnded()) {
      try {
        release(mine);
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
      }
    }
    protection.stop();
    running.remove(mine.domain());
    host.ownership().remove(mine.domain());
    host.events().add(mine.domainName(), "unprotected");
  }

  private void release(Ownership mine) throws IOException {
    try (PeerConnection connection = host.peers().connect(host.trusted().named(mine.peer()), ASK);
        ControlClient control = ControlClient.open(connection)) {
      ObjectNode request = JsonNodeFactory.instance.objectNode();
      control.call(
          "release", request.put("domain", mine.domain().toString()), Duration.ofSeconds(60));
    }
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
      release(protection.ownership());
    } catch (IOException e) {
      // It never was told to follow, or cannot be reached: without a committed epoch it starts
      // nothing.
    }
    protection.stop();
    running.remove(protection.domain().uuid());
    host.ownership().remove(protection.domain().uuid());
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

  /** All of them. */
  List<Protection> all() {
    return List.copyOf(running.values());
  }

  /**
   * After a start of the daemon: goes on with what an earlier one protected, if this host still
   * owns it.
   */
  void resume() throws IOException {
    for (Ownership known : host.ownership().all()) {
      if (known.role() != Ownership.Role.PRIMARY || known.peer().isEmpty()) {
        continue;
      }
      LibvirtDomain domain = host.libvirt().domainOrNull(known.domain());
      if (domain == null || !domain.state().run().active()) {
        host.events().add(known.domainName(), "was protected and does not run here");
        continue;
      }
      host.events().add(known.domainName(), "protection goes on");
      begin(domain, known);
    }
  }
}
