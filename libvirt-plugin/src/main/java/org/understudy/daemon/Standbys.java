package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.channels.ByteChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.understudy.guard.GuardListener;
import org.understudy.libvirt.Finding;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.PrimaryDomain;
import org.understudy.libvirt.QemuConf;
import org.understudy.libvirt.StandbyHostCheck;
import org.understudy.link.LinkReceiver;

/** The guests of other hosts that are followed here. */
final class Standbys {
  private static final long OVERHEAD_BYTES = 200L << 20;
  private static final long REFUSED_AGAIN_MS = 30_000;

  /** A guest that changed into one that could not be made a standby of. */
  private record Refusal(PrimaryDomain primary, String why, long atNs) {}

  private final ThisHost host;
  private final GuardListener guards;
  private final Protections protections;
  private final Editions editions;
  private final Map<UUID, Refusal> refusals = new ConcurrentHashMap<>();
  private final Map<UUID, Standby> running = new ConcurrentHashMap<>();

  Standbys(ThisHost host, GuardListener guards, Protections protections) {
    this.host = host;
    this.guards = guards;
    this.protections = protections;
    editions = new Editions(host.config().tiersDir());
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
    if (there != null && there.follows(order)) {
      describe(there, order);
      return there;
    }
    Edition earlier = there == null ? null : earlierThan(order, there);
    Standby.Knowledge heard = null;
    if (earlier != null) {
      checkAgain(order);
      checkNotRefused(order);
    }
    if (there != null) {
      if (there.takesOver()) {
        throw new IOException("the standby is " + there.state() + "; it is not begun anew");
      }
      heard = there.handOver(order, () -> hear(order));
      there.close(false);
      running.remove(uuid);
      known = host.ownership().read(uuid).orElse(null); // it may have taken over meanwhile
    }
    refuseIfRunning(order, known);
    if (earlier == null) {
      checkRoom(order);
    }
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
      editions.forget(uuid); // of an earlier life
    }
    Standby standby = earlier == null ? first(order) : next(earlier, heard, order);
    host.events().add(order.primary().name(), "standby of host " + peer + " is armed");
    return standby;
  }

  private Standby first(GuestOrder order) throws IOException {
    UUID uuid = order.primary().uuid();
    Edition edition = Edition.first(order);
    editions.deleteFoldersBut(uuid, List.of(edition));
    Standby standby = begin(edition);
    running.put(uuid, standby);
    // For a daemon after this one: with it the last committed epoch can be resumed although the
    // primary is gone.
    editions.write(uuid, List.of(standby.edition()));
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

  /**
   * What is kept of the guest as it was before it became {@code order}: the newest edition with a
   * committed epoch, or null.
   */
  private Edition earlierThan(GuestOrder order, Standby there) throws IOException {
    if (!there.isOfTheSameLife(order)) {
      return null;
    }
    List<Edition> before = editions.of(order.primary().uuid());
    Edition earlier =
        there.hasOwnEpoch() ? there.edition() : before.size() == 2 ? before.get(0) : null;
    if (earlier != null && !hasRoomBeside(earlier, order)) {
      host.events()
          .add(
              order.primary().name(),
              "no room for a second image in "
                  + host.config().tiersDir()
                  + ": epoch "
                  + there.committedEpoch()
                  + " is given up");
      return null;
    }
    return earlier;
  }

  /**
   * The guest has changed in a way that needs another QEMU here. What was committed of it as it was
   * stays, and can be resumed, until there is an epoch of it as it is.
   */
  private Standby next(Edition earlier, Standby.Knowledge heard, GuestOrder order)
      throws IOException {
    UUID uuid = order.primary().uuid();
    // Whatever else lies there is of no use, and must not be taken for the guest as it is.
    editions.deleteFoldersBut(uuid, List.of(earlier));
    Standby standby;
    try {
      standby = begin(earlier.next(order), heard);
    } catch (IOException e) {
      refusals.put(uuid, new Refusal(order.primary(), e.getMessage(), System.nanoTime()));
      running.put(uuid, begin(earlier));
      throw e;
    }
    refusals.remove(uuid);
    running.put(uuid, standby);
    editions.write(uuid, List.of(earlier, standby.edition()));
    return standby;
  }

  private boolean hasRoomBeside(Edition earlier, GuestOrder order) throws IOException {
    long ram = order.layout().bytes();
    return earlier.order().layout().equals(order.layout())
        || new StandbyHostCheck.Room(0, 0, host.config().tiersDir(), ram).hasDisk();
  }

  /** The same QEMU goes on; what its next start would be may have changed. */
  private void describe(Standby there, GuestOrder order) throws IOException {
    if (order.primary().equals(there.order().primary())) {
      return;
    }
    UUID uuid = order.primary().uuid();
    List<Edition> now = new ArrayList<>(editions.of(uuid));
    there.describe(there.edition().with(order));
    now.set(now.size() - 1, there.edition());
    editions.write(uuid, now);
  }

  /** Goes back to the edition before this one, of which an epoch is committed. */
  private synchronized Standby earlier(UUID uuid) throws IOException, InterruptedException {
    Standby there = withUuid(uuid);
    List<Edition> known = editions.of(uuid);
    if (there.hasOwnEpoch() || known.size() < 2) {
      return there;
    }
    host.events()
        .add(there.order().primary().name(), "going back to the guest as it was last committed");
    GuestOrder order = known.get(0).order();
    Standby.Knowledge knowledge = there.handOver(order, () -> hear(order));
    there.close(false);
    running.remove(uuid);
    editions.write(uuid, known.subList(0, 1));
    Standby earlier = begin(known.get(0), knowledge);
    running.put(uuid, earlier);
    return earlier;
  }

  /**
   * Fences the primary and starts the guest here, from its last committed epoch.
   *
   * @param force skip the fence: the operator vouches for it
   * @throws IOException with a sentence if it was not started
   */
  ObjectNode failover(UUID uuid, String why, boolean force)
      throws IOException, InterruptedException {
    return earlier(uuid).failover(why, force, false);
  }

  /** The primary's guest is suspended since this epoch, or no longer if 0. */
  void suspended(UUID uuid, long epoch) throws IOException {
    editions.suspended(uuid, epoch);
    host.events()
        .add(
            withUuid(uuid).order().primary().name(),
            epoch == 0 ? "the guest goes on" : "the guest is suspended, at epoch " + epoch);
  }

  /** What could not be started a moment ago is not tried again at the cost of what stands. */
  private void checkNotRefused(GuestOrder order) throws IOException {
    Refusal last = refusals.get(order.primary().uuid());
    if (last != null
        && last.primary().equals(order.primary())
        && System.nanoTime() - last.atNs() < REFUSED_AGAIN_MS * 1_000_000) {
      throw new IOException(last.why());
    }
  }

  private void checkAgain(GuestOrder order) throws IOException {
    for (Finding finding : StandbyHostCheck.again(host.libvirt(), order.primary())) {
      if (finding instanceof Finding.Refused) {
        throw new IOException(finding.sentence());
      }
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

  /**
   * After a start of the daemon: follows again what an earlier one followed; the primary comes by
   * itself, if it still can.
   */
  synchronized void resume() throws IOException, InterruptedException {
    for (Ownership known : host.ownership().all()) {
      try {
        List<Edition> left = editions.of(known.domain());
        if (left.isEmpty()) {
          continue;
        }
        Edition newest = left.get(left.size() - 1);
        if (known.role().owns()) {
          finishPromotion(known, newest);
          continue;
        }
        if (known.role() != Ownership.Role.STANDBY) {
          continue;
        }
        running.put(known.domain(), begin(newest));
        earlier(known.domain());
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
   * died in the promotion. If QEMU was not complete, the pages it misses went with that daemon.
   */
  private void finishPromotion(Ownership mine, Edition edition) throws IOException {
    UUID uuid = mine.domain();
    GuestOrder order = edition.order();
    if (!Standby.hasImage(host, edition) || mine.generation() <= order.generation()) {
      return; // it was done
    }
    boolean suspended = editions.isSuspendedAt(uuid, mine.committedEpoch());
    if (PausedGuest.wasPromoted(host, order, suspended)) {
      host.events().add(mine.domainName(), "an earlier daemon had promoted it, QEMU is complete");
      Standby.delete(editions.folder(edition));
      return;
    }
    host.events().add(mine.domainName(), "its promotion was interrupted, once more");
    GuardSight guard = hear(order);
    running.put(
        uuid, Standby.promoteAgain(host, edition, guard, mine.generation(), new Keeping(uuid)));
  }

  private Standby begin(Edition edition) throws IOException {
    GuestOrder order = edition.order();
    return begin(edition, new Standby.Knowledge(hear(order), Standby.policyFor(order)));
  }

  private Standby begin(Edition edition, Standby.Knowledge known) throws IOException {
    UUID uuid = edition.order().primary().uuid();
    return Standby.prepare(host, edition, known, new Keeping(uuid));
  }

  private GuardSight hear(GuestOrder order) {
    return new GuardSight(guards, order.guardSession(), order.guardKey());
  }

  /** What one standby's watch asks for; nothing of it waits for that watch. */
  private final class Keeping implements Standby.Keeper {
    private final UUID uuid;

    Keeping(UUID uuid) {
      this.uuid = uuid;
    }

    @Override
    public void ended() {
      aside("standby-release", () -> release(uuid));
    }

    @Override
    public void settled() {
      aside("standby-settle", () -> forgetEarlier(uuid));
    }

    @Override
    public void failOverToEarlier(String why) {
      aside(
          "standby-failover",
          () -> {
            if (hasEarlier() && !withUuid(uuid).hasStoodDown()) {
              earlier(uuid).failover(why, false, true);
            }
          });
    }

    @Override
    public boolean hasEarlier() throws IOException {
      return editions.of(uuid).size() == 2;
    }

    @Override
    public boolean isSuspendedAt(long epoch) throws IOException {
      return editions.isSuspendedAt(uuid, epoch);
    }
  }

  private synchronized void forgetEarlier(UUID uuid) throws IOException {
    Standby there = running.get(uuid);
    if (there != null && there.hasOwnEpoch() && editions.of(uuid).size() == 2) {
      editions.write(uuid, List.of(there.edition()));
      host.events().add(there.order().primary().name(), "the guest is committed as it is now");
    }
  }

  private interface Errand {
    void run() throws IOException, InterruptedException;
  }

  private void aside(String name, Errand errand) {
    Thread thread =
        new Thread(
            () -> {
              try {
                errand.run();
              } catch (IOException e) {
                host.events().add("-", name + ": " + e.getMessage());
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            },
            name);
    thread.setDaemon(true);
    thread.start();
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

  /** The guest is no longer protected: its standby goes, image and all. */
  synchronized void release(UUID uuid) throws IOException, InterruptedException {
    Standby standby = running.remove(uuid);
    if (standby != null) {
      standby.close(true);
    }
    editions.forget(uuid);
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
