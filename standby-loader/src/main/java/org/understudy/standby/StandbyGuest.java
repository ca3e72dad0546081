package org.understudy.standby;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.qemustream.PostcopyRam;
import org.understudy.qemustream.Ram;
import org.understudy.qemustream.Savevm;
import org.understudy.tier.FastTier;

/**
 * The paused standby guest: its RAM is the Fast tier, fed through QEMU's migration stream. Calls
 * from one thread at a time fill parts; the thread {@code standby-load} owns the stream, the state
 * and the set of placed pages; {@code standby-return} reads the return path; {@code standby-watch}
 * looks after QEMU and ends what hangs.
 */
public final class StandbyGuest implements FastTier, AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(StandbyGuest.class);
  private static final int PARTS = 8;
  private static final int WAIT_MS = 100;
  private static final StandbyState.Message PLACED = new StandbyState.Message.Placed();

  private final GuestLayout layout;
  private final StandbyMonitor monitor;
  private final StandbyProcess process;
  private final StandbySettings settings;
  private final StreamLink link;
  private final PageSet placed;
  private final BlockingQueue<Load> loads = new ArrayBlockingQueue<>(4 * PARTS);
  private final BlockingQueue<Load.Placement> freePlacements = new ArrayBlockingQueue<>(PARTS);
  private final BlockingQueue<Load.Removal> freeRemovals = new ArrayBlockingQueue<>(PARTS);
  private final Thread owner = new Thread(this::own, "standby-load");
  private final StandbyWatch watch;
  private volatile StandbyState state = new StandbyState.Armed();
  private int pings;
  private Load.Placement placement; // being filled
  private Load.Removal removal; // being filled; never both

  private StandbyGuest(
      GuestLayout layout,
      StandbyMonitor monitor,
      StandbyProcess process,
      StandbySettings settings,
      StreamLink link,
      StandbyWatch watch) {
    this.layout = layout;
    this.monitor = monitor;
    this.process = process;
    this.settings = settings;
    this.link = link;
    placed = new PageSet(layout.pages());
    this.watch = watch;
    for (int i = 0; i < PARTS; i++) {
      freePlacements.add(new Load.Placement(layout));
      freeRemovals.add(new Load.Removal(layout));
    }
  }

  /**
   * Arms a QEMU that was started paused with {@code -incoming defer} and the primary's arguments:
   * connects, empties its RAM and makes it ready to take pages.
   *
   * @param machine the machine type with its version, as the primary's QEMU names it
   * @param socket a path that does not exist yet and that QEMU can create
   * @param process the standby's QEMU
   * @throws IOException QEMU does not take it; that QEMU has to be started anew
   */
  public static StandbyGuest arm(
      GuestLayout layout,
      String machine,
      StandbyMonitor monitor,
      Path socket,
      StandbyProcess process,
      StandbySettings settings)
      throws IOException {
    StandbyStatus status = monitor.standbyStatus();
    if (!status.runState().equals(StandbyStatus.ARMED) || !status.disturbance().isEmpty()) {
      throw new IOException(
          "the standby to arm is "
              + status.runState()
              + (status.disturbance().isEmpty() ? "" : " (" + status.disturbance() + ")")
              + ", expected "
              + StandbyStatus.ARMED);
    }
    monitor.enablePostcopyRam();
    monitor.migrateIncoming(socket);
    StreamLink link = StreamLink.connect(socket, layout, settings);
    Files.deleteIfExists(socket);
    StandbyWatch watch = new StandbyWatch(monitor, process, link, settings);
    StandbyGuest guest = new StandbyGuest(layout, monitor, process, settings, link, watch);
    try {
      guest.begin(machine);
    } catch (IOException failure) {
      link.close(failure.getMessage());
      throw new IOException(
          "arming the standby ("
              + machine
              + ", "
              + layout
              + "): "
              + failure.getMessage()
              + "; QEMU's own output has the reason",
          failure);
    }
    guest.owner.setDaemon(true);
    guest.owner.start();
    watch.start(guest);
    return guest;
  }

  private void begin(String machine) throws IOException {
    ByteBuffer out =
        ByteBuffer.allocate(64 + 4 * machine.length() + 2 * Ram.sectionStartBytes(layout));
    Savevm.header(out, machine);
    Savevm.command(out, Savevm.MIG_CMD_OPEN_RETURN_PATH);
    Savevm.postcopyAdvise(out, Pages.SIZE, Pages.SIZE);
    Ram.sectionStart(out, layout);
    // The first discard turns transparent huge pages off. With them a placed page could bring 511
    // neighbours of zeros, which the guest would take for real.
    PostcopyRam.discard(out, Ram.names(layout)[0], 0, Pages.SIZE);
    link.write(out.flip());
    settle();
  }

  /** The state now. */
  public StandbyState state() {
    return state;
  }

  public GuestLayout layout() {
    return layout;
  }

  @Override
  public synchronized void place(int page, ByteBuffer content) throws IOException {
    checkUsable();
    if (removal != null) {
      submitPending();
    }
    if (placement == null) {
      placement = await(freePlacements);
      placement.part.clear();
    }
    // An earlier place of the same page in this part is simply followed by the newer one.
    if (Pages.isZero(content, content.position())) {
      placement.part.zero(page);
      content.position(content.position() + Pages.SIZE);
    } else {
      placement.part.content(page, content);
    }
    if (!placement.part.hasRoom()) {
      submitPending();
    }
  }

  @Override
  public synchronized void discard(int from, int to) throws IOException {
    checkUsable();
    if (from < 0 || to > layout.pages() || from > to) {
      throw new IndexOutOfBoundsException(
          "pages " + from + " to " + to + " of " + layout.pages() + " to discard");
    }
    if (from == to) {
      return;
    }
    if (placement != null) {
      submitPending();
    }
    if (removal == null) {
      removal = await(freeRemovals);
      removal.clear();
    }
    removal.add(from, to);
    if (removal.isFull()) {
      submitPending();
    }
  }

  @Override
  public synchronized void flush() throws IOException {
    checkUsable();
    errand(() -> null);
    checkUsable();
  }

  /** Number of pages in the guest, after {@link #flush}. */
  public synchronized int placedPages() throws IOException {
    checkUsable();
    return errand(placed::count);
  }

  /**
   * Gives the standby away, once: looks a last time whether anybody has used it, and runs {@code
   * work} in the thread {@code standby-load}.
   *
   * @throws IOException the standby cannot be promoted, or the work failed; {@link #state} tells
   *     whether the guest is this standby now
   */
  public synchronized <T> T promote(long epoch, Possession.Work<T> work) throws IOException {
    checkUsable();
    return errand(
        () -> {
          String disturbed = watch.disturbance();
          if (disturbed != null) {
            take(new StandbyState.Message.Disturbed(disturbed));
            throw new IOException(disturbed);
          }
          take(new StandbyState.Message.Promote(epoch));
          return work.run(new Possession(this, link, placed));
        });
  }

  /** Gives the standby up. Unless its promotion is complete, its QEMU exits or waits for pages. */
  @Override
  public void close() {
    watch.interrupt();
    link.close("the standby was given up");
    // Whatever is queued fails on the closed link, so there will be room.
    while (owner.isAlive() && !loads.offer(new Load.End())) {
      Thread.onSpinWait();
    }
  }

  StandbyMonitor monitor() {
    return monitor;
  }

  /** Fails if QEMU would not load the stream as it was armed to. */
  void checkCapabilities() throws IOException {
    String changed = watch.changedCapabilities();
    if (changed != null) {
      throw new IOException(changed);
    }
  }

  PresenceProbe presence() {
    return process.presence();
  }

  int nextPing() {
    return ++pings;
  }

  /** In the owning thread, or before it starts: returns when QEMU has read everything. */
  void settle() throws IOException {
    int number = nextPing();
    ByteBuffer ping = ByteBuffer.allocate(Savevm.COMMAND_BYTES + 4);
    Savevm.ping(ping, number);
    link.write(ping.flip());
    try {
      if (!link.inbox().awaitPong(number, settings.replyDeadlineMs())) {
        String ended = link.inbox().ended();
        throw new IOException(
            ended != null
                ? ended
                : "QEMU has not answered a PING within " + settings.replyDeadlineMs() + " ms");
      }
    } catch (InterruptedException interrupted) {
      throw interrupted(interrupted);
    }
  }

  /** In the owning thread: one step of the state machine. */
  void take(StandbyState.Message message) throws WrongMessageException {
    StandbyState before = state;
    state = StandbyState.step(before, message);
    if (!state.equals(before)) {
      LOG.info("standby: {} -> {}", before, state);
    }
  }

  /** News from the watch; false if the queue is full, then it comes again. */
  boolean tell(StandbyState.Message message) {
    return loads.offer(new Load.News(message));
  }

  private void own() {
    while (true) {
      Load load;
      try {
        load = loads.take();
      } catch (InterruptedException ended) {
        return;
      }
      if (load instanceof Load.End) {
        return;
      }
      try {
        work(load);
      } catch (IOException failure) {
        fail(load, failure);
      } catch (RuntimeException defect) {
        LOG.error("the standby is given up", defect);
        fail(load, new IOException(defect.toString(), defect));
      }
    }
  }

  private void work(Load load) throws IOException {
    if (load instanceof Load.Placement pages) {
      take(PLACED);
      pages.write(link, placed);
      freePlacements.add(pages);
    } else if (load instanceof Load.Removal ranges) {
      take(PLACED);
      ranges.write(link, placed);
      freeRemovals.add(ranges);
    } else if (load instanceof Load.News news) {
      if (state instanceof StandbyState.Armed || state instanceof StandbyState.Following) {
        take(news.message());
        link.close(((StandbyState.Refused) state).reason());
      }
    } else if (load instanceof Load.Errand errand) {
      errand.run();
    }
  }

  private void fail(Load load, IOException failure) {
    if (!(failure instanceof WrongMessageException)) {
      try {
        take(new StandbyState.Message.Lost(String.valueOf(failure.getMessage())));
      } catch (WrongMessageException settled) {
        LOG.debug("after a failure: {}", settled.getMessage());
      }
      link.close(failure.getMessage());
    }
    if (load instanceof Load.Placement pages) {
      freePlacements.add(pages);
    } else if (load instanceof Load.Removal ranges) {
      freeRemovals.add(ranges);
    } else if (load instanceof Load.Errand errand) {
      errand.refuse(failure);
    }
  }

  private void checkUsable() throws IOException {
    if (state instanceof StandbyState.Refused refused) {
      throw new IOException("the standby is refused: " + refused.reason());
    }
    if (!(state instanceof StandbyState.Armed || state instanceof StandbyState.Following)) {
      throw new WrongMessageException(state, PLACED);
    }
  }

  private void submitPending() throws IOException {
    Load pending = placement != null ? placement : removal;
    placement = null;
    removal = null;
    submit(pending);
  }

  private void submit(Load load) throws IOException {
    try {
      while (!loads.offer(load, WAIT_MS, TimeUnit.MILLISECONDS)) {
        checkWaiting();
      }
    } catch (InterruptedException interrupted) {
      throw interrupted(interrupted);
    }
  }

  private <T> T await(BlockingQueue<T> free) throws IOException {
    try {
      T found = free.poll(WAIT_MS, TimeUnit.MILLISECONDS);
      while (found == null) {
        checkWaiting();
        found = free.poll(WAIT_MS, TimeUnit.MILLISECONDS);
      }
      return found;
    } catch (InterruptedException interrupted) {
      throw interrupted(interrupted);
    }
  }

  /** What a waiting caller does now and then, so that its wait ends when QEMU hangs or is gone. */
  private void checkWaiting() throws IOException {
    link.closeIfBlocked(settings.stallDeadlineMs());
    if (state instanceof StandbyState.Refused refused) {
      throw new IOException("the standby is refused: " + refused.reason());
    }
    if (!owner.isAlive()) {
      throw new IOException("the standby was given up");
    }
  }

  /** What an errand does; in the owning thread. */
  private interface Task<T> {
    T run() throws IOException;
  }

  private <T> T errand(Task<T> task) throws IOException {
    if (placement != null || removal != null) {
      submitPending();
    }
    CompletableFuture<T> done = new CompletableFuture<>();
    submit(
        new Load.Errand() {
          @Override
          public void run() throws IOException {
            done.complete(task.run());
          }

          @Override
          public void refuse(IOException reason) {
            done.completeExceptionally(reason);
          }
        });
    try {
      while (true) {
        try {
          return done.get(WAIT_MS, TimeUnit.MILLISECONDS);
        } catch (TimeoutException notYet) {
          link.closeIfBlocked(settings.stallDeadlineMs());
          if (!owner.isAlive()) {
            throw new IOException("the standby was given up", notYet);
          }
        }
      }
    } catch (ExecutionException failure) {
      throw new IOException(failure.getCause().getMessage(), failure.getCause());
    } catch (InterruptedException interrupted) {
      throw interrupted(interrupted);
    }
  }

  private static IOException interrupted(InterruptedException cause) {
    Thread.currentThread().interrupt();
    return new IOException("interrupted while the standby was being loaded", cause);
  }
}
