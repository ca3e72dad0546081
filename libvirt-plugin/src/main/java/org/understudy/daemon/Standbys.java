package org.understudy.daemon;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.channels.ByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.understudy.file.DurableFile;
import org.understudy.guard.GuardListener;
import org.understudy.libvirt.Finding;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.QemuConf;
import org.understudy.libvirt.StandbyHostCheck;
import org.understudy.link.LinkReceiver;

/** The guests of other hosts that are followed here. */
final class Standbys {
  private static final long OVERHEAD_BYTES = 200L << 20;

  private static final ObjectMapper JSON = new ObjectMapper();

  private final ThisHost host;
  private final GuardListener guards;
  private final Protections protections;
  private final Map<UUID, Standby> running = new ConcurrentHashMap<>();

  Standbys(ThisHost host, GuardListener guards, Protections protections) {
    this.host = host;
    this.guards = guards;
    this.protections = protections;
  }

  /** A peer asks that its guest be followed; may be asked again after a break. */
  synchronized Standby prepare(String peer, GuestOrder order)
      throws IOException, InterruptedException {
    UUID uuid = order.primary().uuid();
    Ownership known = host.ownership().read(uuid).orElse(null);
    if (known != null && known.generation() > order.generation()) {
      throw new IOException(
          "host "
              + known.owner()
              + " owns generation "
              + known.generation()
              + " of domain "
              + order.primary().name()
              + ", the primary has "
              + order.generation());
    }
    Standby there = running.get(uuid);
    if (there != null) {
      if (there.follows(order)) {
        return there;
      }
      if (there.takesOver()) {
        throw new IOException("the standby is " + there.state() + "; it is not begun anew");
      }
      there.close(false);
      running.remove(uuid);
      known = host.ownership().read(uuid).orElse(null); // it may have taken over meanwhile
    }
    refuseIfRunning(order, known);
    checkRoom(order);
    // First of all durable: from here on no thread of this daemon, nor a later daemon, takes the
    // standby's QEMU for a guest of this host's own.
    host.ownership()
        .write(
            new Ownership(
                uuid,
                order.primary().name(),
                order.generation(),
                peer,
                Ownership.Role.STANDBY,
                peer,
                order.settings(),
                0,
                order.autostart()));
    protections.lose(uuid, peer);
    if (known != null && known.generation() < order.generation()) {
      Standby.delete(host.config().tiersDir().resolve(uuid.toString())); // of an earlier life
    }
    Standby standby = begin(order);
    running.put(uuid, standby);
    // For a daemon after this one: with it the last committed epoch can be resumed although the
    // primary is gone.
    DurableFile.replace(orderFile(uuid), JSON.writeValueAsBytes(order.toJson()));
    host.events().add(order.primary().name(), "standby of host " + peer + " is armed");
    return standby;
  }

  /** Only the QEMU of a standby may be replaced by a standby. */
  private void refuseIfRunning(GuestOrder order, Ownership known) throws IOException {
    if (known != null && known.role() == Ownership.Role.STANDBY) {
      return;
    }
    LibvirtDomain there = host.libvirt().domainOrNull(order.primary().uuid());
    if (there != null && there.state().run().active()) {
      throw new IOException(
          "domain %s is %s on host %s; look at both, then destroy it there: virsh destroy %s"
              .formatted(
                  order.primary().name(),
                  there.state().run().toString().toLowerCase(Locale.ROOT),
                  host.name(),
                  order.primary().name()));
    }
  }

  private void checkRoom(GuestOrder order) throws IOException {
    long ram = order.layout().bytes();
    long fast = order.settings().fast().bytesOf(ram);
    List<Finding> findings =
        StandbyHostCheck.check(
            host.libvirt(),
            order.primary(),
            QemuConf.of(host.config().libvirtUri()),
            new StandbyHostCheck.Room(fast, OVERHEAD_BYTES, host.config().tiersDir(), ram));
    for (Finding finding : findings) {
      if (finding instanceof Finding.Refused) {
        throw new IOException(finding.sentence());
      }
      host.events().add(order.primary().name(), "warning: " + finding.sentence());
    }
  }

  private Path orderFile(UUID uuid) {
    return host.config().tiersDir().resolve(uuid + ".order");
  }

  /**
   * After a start of the daemon: follows again what an earlier one followed; the primary comes by
   * itself, if it still can.
   */
  synchronized void resume() throws IOException {
    for (Ownership known : host.ownership().all()) {
      Path file = orderFile(known.domain());
      if (!Files.exists(file)) {
        continue;
      }
      try {
        GuestOrder order = GuestOrder.of(JSON.readTree(file.toFile()));
        if (known.role().owns()) {
          finishPromotion(known, order);
          continue;
        }
        if (known.role() != Ownership.Role.STANDBY) {
          continue;
        }
        running.put(known.domain(), begin(order));
        host.events()
            .add(known.domainName(), "standby of host " + known.peer() + " is armed again");
      } catch (IOException e) {
        host.events()
            .add(known.domainName(), "the standby could not be armed again: " + e.getMessage());
      }
    }
  }

  /**
   * This host owns the guest, and the image that it was made of is still there: an earlier daemon
   * died in the promotion.
   */
  private void finishPromotion(Ownership mine, GuestOrder order) throws IOException {
    UUID uuid = mine.domain();
    if (!Standby.hasImage(host, uuid) || mine.generation() <= order.generation()) {
      return; // it was done
    }
    GuardSight guard = new GuardSight(guards, order.guardSession(), order.guardKey());
    running.put(uuid, Standby.finishPromotion(host, order, guard, mine, () -> ended(uuid)));
  }

  private Standby begin(GuestOrder order) throws IOException {
    UUID uuid = order.primary().uuid();
    return Standby.prepare(
        host,
        order,
        new GuardSight(guards, order.guardSession(), order.guardKey()),
        () -> ended(uuid));
  }

  /** A peer's stream of epochs. */
  void serveEpochs(String peer, ByteChannel channel) throws IOException {
    LinkReceiver receiver =
        new LinkReceiver(channel, host.config().protect().timing().heartbeatMs(), System::nanoTime);
    receiver.serve(
        (hello, line) -> {
          Standby standby = running.get(hello.domain());
          if (standby == null) {
            throw new IOException("domain " + hello.name() + " was not prepared here");
          }
          return standby.accept(hello, line);
        });
  }

  boolean has(UUID uuid) {
    return running.containsKey(uuid);
  }

  Standby withUuid(UUID uuid) throws IOException {
    Standby standby = running.get(uuid);
    if (standby == null) {
      throw new IOException("domain " + uuid + " has no standby here");
    }
    return standby;
  }

  Standby named(String nameOrUuid) throws IOException {
    for (Standby standby : running.values()) {
      if (standby.order().primary().name().equals(nameOrUuid)
          || standby.order().primary().uuid().toString().equals(nameOrUuid)) {
        return standby;
      }
    }
    throw new IOException("domain " + nameOrUuid + " has no standby here");
  }

  List<Standby> all() {
    return List.copyOf(running.values());
  }

  /** The guest was shut down over there. */
  private void ended(UUID uuid) {
    Thread releasing =
        new Thread(
            () -> {
              try {
                release(uuid);
              } catch (IOException e) {
                host.events()
                    .add(uuid.toString(), "the standby could not be ended: " + e.getMessage());
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            },
            "standby-release");
    releasing.setDaemon(true);
    releasing.start();
  }

  /** The guest is no longer protected: its standby goes, image and all. */
  synchronized void release(UUID uuid) throws IOException, InterruptedException {
    Standby standby = running.remove(uuid);
    if (standby != null) {
      standby.close(true);
    } else {
      Standby.delete(host.config().tiersDir().resolve(uuid.toString()));
    }
    Files.deleteIfExists(orderFile(uuid));
    Ownership known = host.ownership().read(uuid).orElse(null);
    if (known == null || known.role() != Ownership.Role.STANDBY) {
      return;
    }
    LibvirtDomain left = host.libvirt().domainOrNull(uuid);
    if (left != null && left.persistentXml() != null) {
      // It ran here once and could be started: the hook has to know whose it is.
      host.ownership().write(known.as(Ownership.Role.FORMER));
    } else {
      host.ownership().remove(uuid);
    }
  }

  /**
   * Gives a guest up to a host that asks for it.
   *
   * @throws IOException with a sentence: it runs here, or something here would be lost
   */
  synchronized void yieldTo(String peer, Ownership known) throws IOException, InterruptedException {
    UUID uuid = known.domain();
    Standby standby = running.get(uuid);
    boolean mayRun = standby == null || standby.state() == Standby.State.RUNNING;
    LibvirtDomain domain = host.libvirt().domainOrNull(uuid);
    if (mayRun && domain != null && domain.state().run().active()) {
      throw new IOException(
          "domain %s is %s there; shut it down first"
              .formatted(
                  known.domainName(), domain.state().run().toString().toLowerCase(Locale.ROOT)));
    }
    if (standby != null && (standby.takesOver() || standby.state() == Standby.State.FAILED)) {
      throw new IOException(
          "its standby of domain %s is %s (%s)"
              .formatted(known.domainName(), standby.state(), standby.reason()));
    }
    switch (known.role()) {
      case STANDBY -> release(uuid);
      case PRIMARY, ENDING, OWNER -> {
        Protection protection = protections.of(uuid);
        if (protection != null && !protection.isEnded()) {
          throw new IOException("domain " + known.domainName() + " is protected there");
        }
        running.remove(uuid);
        boolean autostart = known.autostart();
        if (domain != null && domain.persistentXml() != null && domain.autostart()) {
          autostart = true;
          domain.autostart(false);
        }
        host.ownership().write(known.lostTo(peer, known.generation() + 1).withAutostart(autostart));
        host.events().add(known.domainName(), "given up to host " + peer);
      }
      case FORMER -> {}
    }
  }
}
