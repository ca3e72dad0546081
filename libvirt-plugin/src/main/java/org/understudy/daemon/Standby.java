package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.daemon.FailureDetector.Judgement;
import org.understudy.daemon.FailureDetector.Verdict;
import org.understudy.failover.PromotionReport;
import org.understudy.guest.EpochSink;
import org.understudy.link.Goodbye;
import org.understudy.link.Hello;
import org.understudy.link.LinkReceiver;
import org.understudy.medium.MediumFile;
import org.understudy.slow.SlowFile;
import org.understudy.standby.DevicePagesFirst;
import org.understudy.standby.StandbyState;
import org.understudy.tier.CommittedImage;
import org.understudy.tier.PlacementPolicy;
import org.understudy.tier.RecencyFrequency;
import org.understudy.tier.StandbyImage;
import org.understudy.tier.TierBudget;
import org.understudy.tier.TierCounts;
import org.understudy.tier.TierSettings;

/**
 * A guest of another host that is followed here: its committed image, the paused QEMU that holds
 * the Fast part of it, and the judgement whether the guest still runs over there. The thread {@code
 * watch-NAME} judges, rebuilds a lost QEMU and fails over.
 */
final class Standby implements LinkReceiver.Followed {
  private static final Logger log = LoggerFactory.getLogger(Standby.class);
  private static final long WATCH_MS = 20;
  private static final long REBUILD_MS = 3000;

  /** What the standby is doing. */
  enum State {
    /** Ready for epochs or taking them. */
    FOLLOWING,
    /** The primary or the way to it is in doubt. */
    DEGRADED,
    /** The fence is at work. */
    FENCING,
    /** The fence failed; nothing was started, a person has to decide. */
    FENCE_FAILED,
    /** The guest is being started here. */
    PROMOTING,
    /** The guest runs here. */
    RUNNING,
    /** The promotion failed; the image is intact. */
    FAILED,
    /** Over. */
    ENDED
  }

  /**
   * What is known of a guest beside its image.
   *
   * @param guard what is heard of its guard
   * @param policy which of its pages are urgent
   */
  record Knowledge(GuardSight guard, PlacementPolicy policy) {}

  /**
   * What a standby asks of those who keep it; in its watch thread, which must not wait for them.
   */
  interface Keeper {
    /** The guest was shut down over there. */
    void ended();

    /** The first epoch of this edition is committed: an earlier one is of no use any more. */
    void settled();

    /** No epoch of this edition is committed: fail over to the earlier one, if there is one. */
    void failOverToEarlier(String why);

    /** Whether there is an earlier edition with a committed epoch. */
    boolean hasEarlier() throws IOException;

    /** Whether the guest was left suspended at this epoch. */
    boolean isSuspendedAt(long epoch) throws IOException;
  }

  private final ThisHost host;
  private final Path folder;
  private final StandbyImage image;
  private final PlacementPolicy policy;
  private final GuardSight guard;
  private final FailureDetector detector;
  private final Keeper keeper;
  private final Thread watching;
  private final ReentrantLock acting = new ReentrantLock(); // one promotion or rebuild at a time

  private volatile Edition edition;
  private volatile GuestOrder order; // the edition's
  private volatile boolean settled;
  private volatile boolean guardHandedOver;
  private boolean handedOver; // the watch's own
  private volatile LinkReceiver receiver;
  private volatile PausedGuest guest;
  private volatile State state = State.FOLLOWING;
  private volatile String reason = "waiting for the first epoch";
  private volatile ObjectNode lastFailover;
  private volatile ClockCatchUp clock;
  private volatile boolean stopping;
  private volatile boolean switchoverAnnounced;
  private volatile boolean stoodDown;
  private long rebuildAtNs;
  private CommittedImage frozen; // under acting, once a promotion has begun

  private Standby(
      ThisHost host,
      Edition edition,
      Path folder,
      StandbyImage image,
      Knowledge known,
      Keeper keeper) {
    this.host = host;
    this.keeper = keeper;
    this.edition = edition;
    order = edition.order();
    this.folder = folder;
    this.image = image;
    policy = known.policy();
    guard = known.guard();
    detector = new FailureDetector(host.config().protect().timing().silentAfterMs());
    watching = new Thread(this::watch, "watch-" + order.primary().name());
    watching.setDaemon(true);
  }

  /**
   * Opens or makes the image, starts the paused QEMU, and watches.
   *
   * @throws IOException with a sentence; nothing is left behind but the image
   */
  static Standby prepare(ThisHost host, Edition edition, Knowledge known, Keeper keeper)
      throws IOException {
    Standby standby = open(host, edition, known, keeper);
    standby.watching.start();
    return standby;
  }

  /**
   * Promotes what an earlier daemon had begun to promote when it died: the committed image, with a
   * new QEMU. The fence was done then.
   *
   * @throws IOException with a sentence; the image is intact
   */
  static Standby promoteAgain(
      ThisHost host, Edition edition, GuardSight guard, long generation, Keeper keeper)
      throws IOException {
    Standby standby = open(host, edition, new Knowledge(guard, policyFor(edition.order())), keeper);
    standby.acting.lock();
    try {
      standby.checkPromotable();
      standby.lastFailover = standby.promote(generation).put("why", "a promotion was interrupted");
    } catch (IOException e) {
      standby.enter(State.FAILED, e.getMessage()); // stays, for a person to try again
    } finally {
      standby.acting.unlock();
    }
    return standby;
  }

  /** Whether there is an image with something to promote in it. */
  static boolean hasImage(ThisHost host, Edition edition) {
    return StandbyImage.exists(host.config().tiersDir().resolve(edition.folder()));
  }

  static PlacementPolicy policyFor(GuestOrder order) {
    return new DevicePagesFirst(order.layout(), new RecencyFrequency(order.layout().pages()));
  }

  private static Standby open(ThisHost host, Edition edition, Knowledge known, Keeper keeper)
      throws IOException {
    GuestOrder order = edition.order();
    Path folder = host.config().tiersDir().resolve(edition.folder());
    StandbyImage image = openImage(host, order, folder, known.policy());
    Standby standby =
        new Standby(host, edition.opened(image.epoch()), folder, image, known, keeper);
    try {
      standby.startGuest();
    } catch (IOException | RuntimeException e) {
      image.close();
      throw e;
    }
    return standby;
  }

  private static StandbyImage openImage(
      ThisHost host, GuestOrder order, Path folder, PlacementPolicy policy) throws IOException {
    Files.createDirectories(folder);
    if (StandbyImage.exists(folder) && !StandbyImage.layoutOf(folder).equals(order.layout())) {
      delete(folder); // of an earlier life of the guest, with other RAM blocks
      Files.createDirectories(folder);
    }
    TierSettings settings =
        new TierSettings(
            TierBudget.parse(order.settings().fast().toString()),
            TierBudget.parse(host.config().protect().medium().toString()),
            TierSettings.DEFAULT.backlogRecords(),
            TierSettings.DEFAULT.movesPerEpoch());
    boolean there = StandbyImage.exists(folder);
    StandbyImage.Stores stores =
        new StandbyImage.Stores(
            new MediumFile(folder.resolve("medium")), new SlowFile(folder.resolve("slow")));
    return there
        ? StandbyImage.open(folder, settings, policy, stores)
        : StandbyImage.create(folder, order.layout(), settings, policy, stores);
  }

  private void startGuest() throws IOException {
    PausedGuest started = PausedGuest.start(host, order);
    guest = started;
    image.attach(started.loader());
  }

  GuestOrder order() {
    return order;
  }

  State state() {
    return state;
  }

  String reason() {
    return reason;
  }

  /** Whether a failover is under way, which nothing that the other host asks may interrupt. */
  boolean takesOver() {
    return state == State.FENCING || state == State.PROMOTING;
  }

  /**
   * The primary host starts the guest anew: nothing is taken over any more, unless a person asks.
   *
   * @return false if this is taking over, or about to: the guest must not be started there
   */
  boolean standDown(String why) {
    boolean may =
        (image.epoch() > 0 || hasEarlier()) && host.config().protect().timing().autoFailover();
    boolean watches = (state == State.FOLLOWING || state == State.DEGRADED) && !stoodDown;
    if (may
        && watches
        && (guard.word() == FailureDetector.GuestWord.ENDING
            || judge().verdict() == Verdict.FAILED)) {
      return false;
    }
    // A failover enters its state first and looks at this afterwards; so one of both gives way.
    stoodDown = true;
    if (takesOver() || state == State.RUNNING || state == State.FAILED) {
      stoodDown = false;
      return false;
    }
    enter(State.DEGRADED, why);
    return true;
  }

  boolean hasStoodDown() {
    return stoodDown;
  }

  private boolean hasEarlier() {
    try {
      return keeper.hasEarlier();
    } catch (IOException e) {
      return true; // the safer answer: nothing is started there
    }
  }

  private Judgement judge() {
    LinkReceiver line = receiver;
    long linkSilentMs = line == null ? Long.MAX_VALUE : line.silentMs();
    return detector.judge(linkSilentMs, guard.word(), guard.silentMs());
  }

  /** Whether what is committed here is of the guest that is asked for, changed or not. */
  boolean isOfTheSameLife(GuestOrder asked) {
    return asked.generation() == order.generation()
        && (state == State.FOLLOWING || state == State.DEGRADED || state == State.FENCE_FAILED);
  }

  Edition edition() {
    return edition;
  }

  /** Whether an epoch is committed that was captured of the guest as this QEMU has it. */
  boolean hasOwnEpoch() {
    return image.epoch() > edition.afterEpoch();
  }

  /** Whether this follows the very guest that is asked for, and can go on with it. */
  boolean follows(GuestOrder asked) throws IOException {
    return (state == State.FOLLOWING || state == State.DEGRADED)
        && asked.layout().equals(order.layout())
        && asked.generation() == order.generation()
        && asked.guardSession().equals(guard.session())
        && asked.primary().sameMachine(order.primary());
  }

  /** The same guest, described anew. */
  void describe(Edition described) {
    edition = described;
    order = described.order();
  }

  // What the link asks.

  /** A primary wants to send epochs. */
  LinkReceiver.Followed accept(Hello hello, LinkReceiver by) throws IOException {
    if (!hello.layout().equals(order.layout())) {
      throw new IOException("the RAM blocks are not those that were prepared");
    }
    if (hello.generation() != order.generation()) {
      throw new IOException(
          "generation " + hello.generation() + ", prepared was " + order.generation());
    }
    if (state != State.FOLLOWING && state != State.DEGRADED) {
      throw new IOException("the standby is " + state + (reason.isEmpty() ? "" : ": " + reason));
    }
    receiver = by;
    return this;
  }

  @Override
  public long committedEpoch() {
    return image.epoch();
  }

  @Override
  public EpochSink sink() {
    return image;
  }

  @Override
  public void goodbye(Goodbye why, String sentence) {
    host.events().add(name(), "the primary says goodbye: " + sentence);
    if (why == Goodbye.SWITCHOVER) {
      switchoverAnnounced = true;
    }
  }

  private String name() {
    return order.primary().name();
  }

  // The watch.

  private void watch() {
    try {
      while (!stopping) {
        look();
        Thread.sleep(WATCH_MS);
      }
    } catch (InterruptedException e) {
      // asked to stop
    }
  }

  private void look() throws InterruptedException {
    if (state == State.FENCE_FAILED && judge().verdict() == Verdict.FOLLOWING) {
      host.events().add(name(), "link and guard are heard again; nothing had been started");
      enter(State.FOLLOWING, "");
    }
    if ((state != State.FOLLOWING && state != State.DEGRADED) || switchoverAnnounced || stoodDown) {
      return;
    }
    if (!settled && hasOwnEpoch()) {
      settled = true;
      keeper.settled();
    }
    Judgement judged = judge();
    switch (judged.verdict()) {
      case FOLLOWING -> enter(State.FOLLOWING, "");
      case DEGRADED -> enter(State.DEGRADED, judged.reason());
      case ENDED -> {
        host.events().add(name(), judged.reason() + "; protection ends");
        enter(State.ENDED, judged.reason());
        keeper.ended();
        return;
      }
      case FAILED -> {
        failed(judged.reason());
        return;
      }
    }
    rebuildIfLost();
  }

  private void failed(String why) throws InterruptedException {
    if (!host.config().protect().timing().autoFailover()) {
      enter(
          State.DEGRADED, why + "; automatic failover is off, run: understudy failover " + name());
      return;
    }
    if (!hasOwnEpoch()) {
      enter(State.DEGRADED, why + "; no epoch was committed of the guest as it is now");
      if (!handedOver) {
        handedOver = true;
        keeper.failOverToEarlier(why);
      }
      return;
    }
    try {
      failover(why, false, true);
    } catch (IOException e) {
      log.warn("{}: {}", name(), e.getMessage());
    }
  }

  private void rebuildIfLost() {
    PausedGuest now = guest;
    if (now != null && !(now.loader().state() instanceof StandbyState.Refused)) {
      return;
    }
    if (System.nanoTime() - rebuildAtNs < 0 || !acting.tryLock()) {
      return;
    }
    try {
      rebuildAtNs = System.nanoTime() + REBUILD_MS * 1_000_000;
      if (now != null) {
        host.events()
            .add(name(), "the standby QEMU is lost and started anew: " + now.loader().state());
      }
      image.detach();
      guest = null;
      if (now != null) {
        now.close();
      }
      startGuest();
    } catch (IOException e) {
      host.events().add(name(), "the standby QEMU could not be started: " + e.getMessage());
    } finally {
      acting.unlock();
    }
  }

  // Failover.

  /**
   * Fences the primary and starts the guest here.
   *
   * @param why for the log
   * @param force skip the fence: the operator vouches for it
   * @param unasked no person wants it
   * @throws IOException with a sentence if the guest was not started
   */
  ObjectNode failover(String why, boolean force, boolean unasked)
      throws IOException, InterruptedException {
    acting.lock();
    try {
      checkPromotable();
      long detectedNs = System.nanoTime();
      long detectedAtMs = System.currentTimeMillis();
      enter(State.FENCING, why);
      if (unasked && stoodDown) {
        enter(State.DEGRADED, "the primary host starts the guest anew; nothing is taken over");
        throw new IOException(reason);
      }
      FenceStep fenced = FenceStep.run(host, order, force);
      if (!fenced.fenced()) {
        enter(State.FENCE_FAILED, fenced.sentence());
        throw new IOException(fenced.sentence());
      }
      host.events().add(name(), fenced.sentence());
      LinkReceiver line = receiver;
      if (line != null) {
        line.abort();
      }
      long fenceMs = (System.nanoTime() - detectedNs) / 1_000_000;
      ObjectNode report = promote(order.generation() + 1);
      report.put("why", why).put("fenceMs", fenceMs).put("detectedAt", detectedAtMs);
      report.put("guardSilentMs", Math.min(guard.silentMs(), 1_000_000_000));
      lastFailover = report;
      return report;
    } finally {
      acting.unlock();
    }
  }

  /** The primary gave the guest up by plan: starts it here. */
  ObjectNode takeOver(long generation, long epoch) throws IOException {
    acting.lock();
    try {
      checkPromotable();
      if (image.epoch() != epoch) {
        throw new IOException("committed is epoch " + image.epoch() + ", not " + epoch);
      }
      if (generation <= order.generation()) {
        throw new IOException(
            "generation " + generation + " is not newer than " + order.generation());
      }
      ObjectNode report = promote(generation);
      lastFailover = report;
      return report;
    } catch (IOException e) {
      switchoverAnnounced = false;
      throw e;
    } finally {
      acting.unlock();
    }
  }

  private void checkPromotable() throws IOException {
    if (state == State.RUNNING || state == State.PROMOTING || state == State.ENDED) {
      throw new IOException("domain " + name() + " is " + state + " here");
    }
    if (!hasOwnEpoch()) {
      throw new IOException(
          "no epoch of domain " + name() + " was committed, there is nothing to start");
    }
    if (!settled) {
      settled = true;
      keeper.settled();
    }
  }

  /** From here on this host owns the guest. */
  private ObjectNode promote(long generation) throws IOException {
    enter(State.PROMOTING, "epoch " + image.epoch());
    host.ownership()
        .write(
            new Ownership(
                order.primary().uuid(),
                name(),
                generation,
                host.name(),
                Ownership.Role.OWNER,
                host.ownership().read(order.primary().uuid()).map(Ownership::peer).orElse(""),
                order.settings(),
                image.epoch(),
                order.autostart()));
    TierCounts before = image.counts();
    PromotionReport report;
    try {
      if (frozen == null) {
        // For good: a promotion that failed is repeated with the same epoch.
        frozen = image.freeze();
      }
      report = promoteTwiceAtMost();
    } catch (IOException | RuntimeException e) {
      enter(State.FAILED, String.valueOf(e.getMessage()));
      throw new IOException("the promotion of domain " + name() + " failed: " + e.getMessage(), e);
    }
    ObjectNode json = Takeover.describe(report, before);
    if (!(report.outcome() instanceof PromotionReport.Outcome.Completed)) {
      enter(State.FAILED, report.outcome().toString());
      throw new IOException("the promotion of domain " + name() + " failed: " + report.outcome());
    }
    clock = ClockCatchUp.start(host, guest.domain());
    guest.makeOrdinary(order.primary().persistentXml());
    enter(
        State.RUNNING,
        "epoch "
            + report.epoch()
            + ", generation "
            + generation
            + (keeper.isSuspendedAt(report.epoch())
                ? "; suspended, as it was: virsh resume " + name()
                : ""));
    closeImage(true);
    return json;
  }

  /**
   * A paused QEMU that is lost costs one more attempt with a new one, also when the guest had run
   * in it for a moment: it then goes on once more from the committed epoch.
   */
  private PromotionReport promoteTwiceAtMost() throws IOException {
    String lost;
    try {
      if (guest == null) {
        startGuest();
      }
      PromotionReport report = takeOver();
      if (!(report.outcome() instanceof PromotionReport.Outcome.Repeatable)
          && !(report.outcome() instanceof PromotionReport.Outcome.AwaitsRecovery)) {
        return report;
      }
      lost = report.outcome().toString();
    } catch (IOException e) {
      lost = e.getMessage();
    }
    host.events().add(name(), "the standby QEMU was lost, once more with a new one: " + lost);
    image.detach();
    PausedGuest old = guest;
    guest = null;
    if (old != null) {
      old.close();
    }
    startGuest();
    return takeOver();
  }

  /** A guest that somebody suspended does not run because its host died. */
  private PromotionReport takeOver() throws IOException {
    return Takeover.run(frozen, guest, policy, !keeper.isSuspendedAt(frozen.epoch()));
  }

  private void enter(State to, String why) {
    boolean changed = state != to;
    state = to;
    reason = why;
    if (changed) {
      host.events().add(name(), to + (why.isEmpty() ? "" : ": " + why));
    }
  }

  /** Ends it: stops watching, ends the paused QEMU unless the guest runs, and closes the image. */
  void close(boolean deleteImage) throws IOException, InterruptedException {
    stopping = true;
    watching.interrupt();
    if (Thread.currentThread() != watching) {
      watching.join(5000);
    }
    acting.lock();
    try {
      LinkReceiver line = receiver;
      if (line != null) {
        line.abort();
      }
      if (state != State.RUNNING) {
        if (guest != null) {
          image.detach();
          guest.close();
        }
        closeImage(deleteImage);
      }
    } finally {
      acting.unlock();
      if (!guardHandedOver) {
        guard.close();
      }
    }
  }

  /**
   * What the standby of the next edition goes on with: the ear on the guard if it is the same one,
   * and what is known of the pages if they are the same.
   */
  Knowledge handOver(GuestOrder next, Supplier<GuardSight> another) {
    guardHandedOver = next.guardSession().equals(guard.session());
    return new Knowledge(
        guardHandedOver ? guard : another.get(),
        next.layout().equals(order.layout()) ? policy : policyFor(next));
  }

  private void closeImage(boolean deleteImage) throws IOException {
    image.close();
    if (deleteImage) {
      delete(folder);
    }
  }

  static void delete(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      return;
    }
    List<Path> found;
    try (Stream<Path> files = Files.walk(folder)) {
      found = files.sorted(Comparator.reverseOrder()).toList();
    }
    for (Path file : found) {
      Files.deleteIfExists(file);
    }
  }

  /** Everything status shows, as one JSON object. */
  ObjectNode status() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("domain", name())
        .put("uuid", order.primary().uuid().toString())
        .put("role", "standby");
    json.put("state", state.toString()).put("reason", reason);
    json.put("generation", order.generation()).put("fence", host.fence().description());
    json.put("fast", order.settings().fast().toString());
    LinkReceiver line = receiver;
    json.put("linkSilentMs", line == null ? -1 : Math.min(line.silentMs(), 1_000_000_000));
    json.put("guardWord", String.valueOf(guard.word()));
    json.put("guardSilentMs", Math.min(guard.silentMs(), 1_000_000_000));
    if (state != State.RUNNING && state != State.ENDED) {
      Takeover.describe(image.counts(), json);
    }
    PausedGuest now = guest;
    if (now != null) {
      json.put("loader", now.loader().state().toString());
    }
    ClockCatchUp late = clock;
    if (late != null) {
      json.put("clock", late.result());
    }
    if (lastFailover != null) {
      json.set("failover", lastFailover);
    }
    return json;
  }
}
