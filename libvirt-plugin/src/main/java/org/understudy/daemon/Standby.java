package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.daemon.FailureDetector.GuestWord;
import org.understudy.daemon.FailureDetector.Judgement;
import org.understudy.daemon.FailureDetector.Verdict;
import org.understudy.failover.PromotionReport;
import org.understudy.fault.FaultPoint;
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

  /** For so long the silence of a primary that begins anew is no sign of its death. */
  private static final long BEGIN_AGAIN_MS = 10_000;

  private static final long LIBVIRT_MS = 60_000;

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

  private final ThisHost host;
  private final GuestOrder order;
  private final Path folder;
  private final StandbyImage image;
  private final PlacementPolicy policy;
  private final GuardSight guard;
  private final FailureDetector detector;
  private final Runnable onEnd;
  private final Thread watching;
  private final ReentrantLock acting = new ReentrantLock(); // one promotion or rebuild at a time

  private volatile LinkReceiver receiver;
  private volatile PausedGuest guest;
  private volatile State state = State.FOLLOWING;
  private volatile String reason = "waiting for the first epoch";
  private volatile ObjectNode lastFailover;
  private volatile ClockCatchUp clock;
  private volatile boolean stopping;
  private volatile boolean switchoverAnnounced;
  private volatile long beginsAgainUntilNs = System.nanoTime();
  private volatile boolean stoodDown;
  private long rebuildAtNs;
  private CommittedImage frozen; // under acting, once a promotion has begun

  private Standby(
      ThisHost host,
      GuestOrder order,
      Path folder,
      StandbyImage image,
      PlacementPolicy policy,
      GuardSight guard,
      Runnable onEnd) {
    this.host = host;
    this.onEnd = onEnd;
    this.order = order;
    this.folder = folder;
    this.image = image;
    this.policy = policy;
    this.guard = guard;
    detector = new FailureDetector(host.config().protect().timing().silentAfterMs());
    watching = new Thread(this::watch, "watch-" + order.primary().name());
    watching.setDaemon(true);
  }

  /**
   * Opens or makes the image, starts the paused QEMU, and watches.
   *
   * @throws IOException with a sentence; nothing is left behind but the image
   */
  static Standby prepare(ThisHost host, GuestOrder order, GuardSight guard, Runnable onEnd)
      throws IOException {
    Standby standby = open(host, order, guard, onEnd);
    standby.watching.start();
    return standby;
  }

  /**
   * Finishes what an earlier daemon had begun to promote when it died: with the guest where it is,
   * if it had begun to run, or else from the committed image in a new QEMU. The fence was done
   * then.
   *
   * @param mine what is durable of the promotion
   * @throws IOException with a sentence; the image is intact
   */
  static Standby finishPromotion(
      ThisHost host, GuestOrder order, GuardSight guard, Ownership mine, Runnable onEnd)
      throws IOException {
    Standby standby = openWithoutGuest(host, order, guard, onEnd);
    standby.acting.lock();
    try {
      standby.checkPromotable();
      standby.enter(State.PROMOTING, "epoch " + standby.image.epoch() + ", interrupted before");
      if (standby.goOn(mine)) {
        return standby;
      }
      if (PausedGuest.wasPromoted(host, order)) {
        standby.enter(State.RUNNING, "an earlier daemon had promoted it, QEMU is complete");
        standby.closeImage(true);
        return standby;
      }
      standby.lastFailover =
          standby.promote(mine.generation()).put("why", "a promotion was interrupted");
    } catch (IOException e) {
      standby.enter(State.FAILED, e.getMessage()); // stays, for a person to try again
    } finally {
      standby.acting.unlock();
    }
    return standby;
  }

  /** Whether there is an image with something to promote in it. */
  static boolean hasImage(ThisHost host, UUID domain) {
    return StandbyImage.exists(host.config().tiersDir().resolve(domain.toString()));
  }

  private static Standby open(ThisHost host, GuestOrder order, GuardSight guard, Runnable onEnd)
      throws IOException {
    Standby standby = openWithoutGuest(host, order, guard, onEnd);
    try {
      standby.startGuest();
    } catch (IOException | RuntimeException e) {
      standby.image.close();
      throw e;
    }
    return standby;
  }

  private static Standby openWithoutGuest(
      ThisHost host, GuestOrder order, GuardSight guard, Runnable onEnd) throws IOException {
    Path folder = host.config().tiersDir().resolve(order.primary().uuid().toString());
    PlacementPolicy policy =
        new DevicePagesFirst(order.layout(), new RecencyFrequency(order.layout().pages()));
    StandbyImage image = openImage(host, order, folder, policy);
    return new Standby(host, order, folder, image, policy, guard, onEnd);
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
    boolean may = image.epoch() > 0 && host.config().protect().timing().autoFailover();
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

  private Judgement judge() {
    LinkReceiver line = receiver;
    long linkSilentMs = line == null ? Long.MAX_VALUE : line.silentMs();
    Judgement judged = detector.judge(linkSilentMs, guard.word(), guard.silentMs());
    boolean bySilence = judged.verdict() == Verdict.FAILED && guard.word() == GuestWord.ALIVE;
    return bySilence && System.nanoTime() - beginsAgainUntilNs < 0
        ? new Judgement(Verdict.DEGRADED, "the primary has lost its guard and begins anew")
        : judged;
  }

  /** Whether this follows the very guest that is asked for, and can go on with it. */
  boolean follows(GuestOrder asked) {
    return (state == State.FOLLOWING || state == State.DEGRADED)
        && asked.layout().equals(order.layout())
        && asked.generation() == order.generation()
        && asked.guardSession().equals(guard.session());
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
    switch (why) {
      case SWITCHOVER -> switchoverAnnounced = true;
      case BEGINS_AGAIN -> beginsAgainUntilNs = System.nanoTime() + BEGIN_AGAIN_MS * 1_000_000;
      case PROTECTION_ENDS, DAEMON_STOPS -> {
        // The order to let go, or the guard, says the rest.
      }
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
    Judgement judged = judge();
    switch (judged.verdict()) {
      case FOLLOWING -> enter(State.FOLLOWING, "");
      case DEGRADED -> enter(State.DEGRADED, judged.reason());
      case ENDED -> {
        host.events().add(name(), judged.reason() + "; protection ends");
        enter(State.ENDED, judged.reason());
        onEnd.run();
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
    if (image.epoch() == 0) {
      enter(State.DEGRADED, why + "; no epoch was committed, there is nothing to fail over to");
      return;
    }
    if (!host.config().protect().timing().autoFailover()) {
      enter(
          State.DEGRADED, why + "; automatic failover is off, run: understudy failover " + name());
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
   * @throws IOException with a sentence if the guest was not started
   */
  ObjectNode failover(String why, boolean force) throws IOException, InterruptedException {
    return failover(why, force, false);
  }

  private ObjectNode failover(String why, boolean force, boolean unasked)
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
      FaultPoint.FENCED.reached();
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
    if (image.epoch() == 0) {
      throw new IOException(
          "no epoch of domain " + name() + " was committed, there is nothing to start");
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
    FaultPoint.GENERATION_DURABLE.reached();
    TierCounts before = image.counts();
    PromotionReport report;
    try {
      if (frozen == null) {
        // For good: a promotion that failed is repeated with the same epoch.
        frozen = image.freeze();
      }
      host.libvirt().awaitAnswer(LIBVIRT_MS);
      report = promoteTwiceAtMost();
    } catch (IOException | RuntimeException | InterruptedException e) {
      if (e instanceof InterruptedException) {
        Thread.currentThread().interrupt();
      }
      enter(State.FAILED, String.valueOf(e.getMessage()));
      throw new IOException("the promotion of domain " + name() + " failed: " + e.getMessage(), e);
    }
    if (!(report.outcome() instanceof PromotionReport.Outcome.Completed)) {
      enter(State.FAILED, report.outcome().toString());
      throw new IOException("the promotion of domain " + name() + " failed: " + report.outcome());
    }
    FaultPoint.GUEST_WHOLE.reached();
    clock = ClockCatchUp.start(host, guest.domain());
    guest.makeOrdinary();
    return runs(report, before, generation);
  }

  private ObjectNode runs(PromotionReport report, TierCounts before, long generation)
      throws IOException {
    ObjectNode json = Takeover.describe(report, before);
    enter(State.RUNNING, "epoch " + report.epoch() + ", generation " + generation);
    closeImage(true);
    return json;
  }

  /**
   * The guest of an earlier daemon's promotion goes on where it is, if it had begun to run.
   *
   * @return false if it had not, or cannot: then the promotion is to be repeated
   */
  private boolean goOn(Ownership mine) throws IOException {
    TierCounts before = image.counts();
    InterruptedGuest found;
    try {
      found = InterruptedGuest.ofEarlierDaemon(host, order);
    } catch (IOException e) {
      host.events().add(name(), "no guest of an earlier daemon goes on: " + e.getMessage());
      return false;
    }
    try (InterruptedGuest left = found) {
      PromotionReport report;
      try {
        if (image.epoch() != mine.committedEpoch()) {
          throw new IOException(
              "it was made of epoch " + mine.committedEpoch() + ", here is " + image.epoch());
        }
        frozen = image.freeze();
        report = left.recover(frozen, Takeover.urgentFirst(frozen, policy));
      } catch (IOException e) {
        host.events().add(name(), "its guest does not go on from where it is: " + e.getMessage());
        return false;
      }
      if (!(report.outcome() instanceof PromotionReport.Outcome.Completed)) {
        throw new IOException("its guest has run and waits for pages: " + report.outcome());
      }
      clock = ClockCatchUp.start(host, left.domain());
      left.makeOrdinary();
      lastFailover = runs(report, before, mine.generation()).put("why", "a promotion was finished");
      return true;
    }
  }

  /**
   * A guest whose stream broke after it had begun to run goes on with a new stream. Where that
   * cannot be, or it had not run, a paused QEMU that is lost costs one more attempt with a new one:
   * the guest then goes on from the committed epoch.
   */
  private PromotionReport promoteTwiceAtMost() throws IOException {
    String lost;
    try {
      if (guest == null) {
        startGuest();
      }
      PromotionReport report = Takeover.run(frozen, guest, policy);
      if (!(report.outcome() instanceof PromotionReport.Outcome.Repeatable)
          && !(report.outcome() instanceof PromotionReport.Outcome.AwaitsRecovery)) {
        return report;
      }
      lost = report.outcome().toString();
      try {
        PromotionReport finished = guest.recover(frozen, Takeover.urgentFirst(frozen, policy));
        host.events().add(name(), "its stream broke and a new one took over: " + lost);
        return finished;
      } catch (IOException e) {
        lost += "; " + e.getMessage();
      }
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
    return Takeover.run(frozen, guest, policy);
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
      guard.close();
    }
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
