package org.understudy.tier;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.IntStream;
import org.understudy.fault.FaultPoint;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.Pages;

/**
 * The standby's storage of one protected guest, in one directory: whole epochs or nothing. A commit
 * is a redo record that is durable under its name; the thread {@code commit} then folds it into
 * Medium and Slow, replaces the copies in Fast, and deletes it when the index is durable. What is
 * found after a crash is the last committed epoch, bit by bit; Fast is then empty.
 *
 * <p>One thread uses the {@link EpochSink}; everything else may be called by any thread. Locks are
 * taken in the order {@code commitPoint}, lock of {@link Tiers}.
 */
public final class StandbyImage implements EpochSink, AutoCloseable {
  private static final String LOCK = "lock";

  private final Path directory;
  private final GuestLayout layout;
  private final FileChannel directoryLock;
  private final IndexJournal journal;
  private final Tiers tiers;
  private final CommitLoop loop;
  private final Thread thread;
  private final PlacementPolicy policy;
  private final RedoWriter writer;
  private final ReentrantLock commitPoint = new ReentrantLock();

  private volatile boolean frozen;
  private volatile boolean closed;
  private final AtomicInteger freezes =
      new AtomicInteger(); // a thaw does not revive an epoch begun before the freeze
  private volatile long committed;
  private final AtomicLong stalls = new AtomicLong();
  private final AtomicLong refused = new AtomicLong();
  private int freezesAtBegin;

  /** The stores of an image, which it closes, also when it cannot be opened. */
  public record Stores(PageStore medium, PageStore slow) {}

  private StandbyImage(
      Path directory,
      FileChannel directoryLock,
      IndexJournal journal,
      Tiers tiers,
      PlacementPolicy policy) {
    this.directory = directory;
    this.directoryLock = directoryLock;
    this.journal = journal;
    this.tiers = tiers;
    this.policy = policy;
    layout = journal.layout();
    writer = new RedoWriter(directory, layout);
    committed = tiers.epoch;
    loop = new CommitLoop(tiers, journal, policy);
    loop.planDue = true;
    thread = new Thread(loop, "commit");
    thread.setDaemon(true);
    thread.start();
  }

  /**
   * Makes the directory the image of a guest whose pages are all zero, at epoch 0.
   *
   * @throws IOException when it holds an image already
   */
  public static StandbyImage create(
      Path directory,
      GuestLayout layout,
      TierSettings settings,
      PlacementPolicy policy,
      Stores stores)
      throws IOException {
    try {
      Files.createDirectories(directory);
      IndexJournal.create(directory, layout).close();
    } catch (IOException | RuntimeException e) {
      closeAfter(e, stores.medium(), stores.slow());
      throw e;
    }
    return open(directory, settings, policy, stores);
  }

  /** Whether the directory holds an image. */
  public static boolean exists(Path directory) {
    return Files.exists(directory.resolve(IndexJournal.NAME));
  }

  /** The layout of the guest whose image the directory holds. */
  public static GuestLayout layoutOf(Path directory) throws IOException {
    try (IndexJournal index = IndexJournal.open(directory)) {
      return index.layout();
    }
  }

  /**
   * Opens the image as of its last committed epoch.
   *
   * @throws IOException with a sentence when it is damaged, or in use by somebody else
   */
  public static StandbyImage open(
      Path directory, TierSettings settings, PlacementPolicy policy, Stores stores)
      throws IOException {
    FileChannel lock = null;
    IndexJournal journal = null;
    try {
      lock = lock(directory);
      journal = IndexJournal.open(directory);
      Tiers tiers =
          new Tiers(
              new PageIndex(journal.layout().pages()), stores.medium(), stores.slow(), settings);
      Recovery.recover(directory, journal, tiers);
      return new StandbyImage(directory, lock, journal, tiers, policy);
    } catch (IOException | RuntimeException e) {
      closeAfter(e, stores.medium(), stores.slow(), journal, lock);
      throw e;
    }
  }

  private static void closeAfter(Exception failure, Closeable... parts) {
    for (Closeable part : parts) {
      try {
        if (part != null) {
          part.close();
        }
      } catch (IOException e) {
        failure.addSuppressed(e);
      }
    }
  }

  private static FileChannel lock(Path directory) throws IOException {
    FileChannel channel =
        FileChannel.open(
            directory.resolve(LOCK), StandardOpenOption.WRITE, StandardOpenOption.CREATE);
    try {
      if (channel.tryLock() != null) {
        return channel;
      }
    } catch (OverlappingFileLockException e) {
      // Held by this process: the same answer.
    }
    channel.close();
    throw new IOException(directory + " is in use by another daemon");
  }

  /** The guest's RAM blocks. */
  public GuestLayout layout() {
    return layout;
  }

  /** Number of the last committed epoch, 0 when there is none. */
  public long epoch() {
    return committed;
  }

  @Override
  public void begin(long epoch) throws IOException {
    writer.discard();
    freezesAtBegin = freezes.get();
    if (epoch <= committed) {
      throw new IllegalArgumentException(
          "epoch " + epoch + " begins, expected one after the committed " + committed);
    }
    try {
      checkAccepting();
      writer.begin(epoch, committed);
      FaultPoint.EPOCH_BEGUN.reached();
    } catch (IOException e) {
      throw refuse(epoch, e);
    }
  }

  @Override
  public void page(int page, ByteBuffer content) throws IOException {
    checkBegun();
    checkPage(page);
    try {
      writer.page(page, content);
    } catch (IOException e) {
      throw refuse(writer.epoch(), e);
    }
  }

  @Override
  public void zeroPage(int page) throws IOException {
    checkBegun();
    checkPage(page);
    writer.zeroPage(page);
  }

  @Override
  public void deviceState(ByteBuffer state) throws IOException {
    checkBegun();
    writer.deviceState(state);
  }

  @Override
  public void commit() throws IOException {
    checkBegun();
    long epoch = writer.epoch();
    try {
      if (!writer.hasDeviceState()) {
        throw new IOException("no device state came with it");
      }
      awaitRoom();
      writer.finish();
      commitPoint.lock();
      try {
        if (frozen || closed) {
          throw new IOException("the image is frozen at epoch " + committed);
        }
        RedoRecord record = writer.publish();
        committed = epoch;
        tiers.lock.lock();
        try {
          tiers.add(record);
        } finally {
          tiers.lock.unlock();
        }
      } finally {
        commitPoint.unlock();
      }
      FaultPoint.EPOCH_DURABLE.reached();
    } catch (IOException e) {
      throw refuse(epoch, e);
    }
  }

  @Override
  public void discard() throws IOException {
    writer.discard();
  }

  private void checkPage(int page) {
    if (page < 0 || page >= layout.pages()) {
      throw new IndexOutOfBoundsException("page " + page + " of " + layout.pages());
    }
  }

  private void checkBegun() throws IOException {
    if (!writer.isOpen()) {
      throw new IllegalStateException("no epoch has begun");
    }
    if (frozen || freezesAtBegin != freezes.get()) {
      throw refuse(writer.epoch(), new IOException("the image was frozen at epoch " + committed));
    }
  }

  /** Says no when the epoch could not be committed anyway. */
  private void checkAccepting() throws IOException {
    tiers.lock.lock();
    try {
      checkAcceptingLocked();
    } finally {
      tiers.lock.unlock();
    }
  }

  private void checkAcceptingLocked() throws IOException {
    if (frozen || closed) {
      throw new IOException("the image is " + (closed ? "closed" : "frozen"));
    }
    if (loop.failure != null) {
      throw new IOException(loop.failure);
    }
    if (loop.trouble != null && isBacklogFull()) {
      throw new IOException(
          tiers.backlog.size() + " epochs wait to be folded because of: " + loop.trouble);
    }
  }

  private boolean isBacklogFull() {
    return tiers.backlog.size() >= tiers.settings.backlogRecords();
  }

  private void awaitRoom() throws IOException {
    tiers.lock.lock();
    try {
      checkAcceptingLocked();
      if (isBacklogFull()) {
        stalls.incrementAndGet();
      }
      while (isBacklogFull()) {
        tiers.changed.awaitUninterruptibly();
        checkAcceptingLocked();
      }
    } finally {
      tiers.lock.unlock();
    }
  }

  /** Discards the epoch; one sentence says why and what stays. */
  private IOException refuse(long epoch, IOException cause) {
    refused.incrementAndGet();
    String where =
        isNoSpace(cause) ? " in " + directory + " after " + writer.bytes() + " bytes" : "";
    try {
      writer.discard();
    } catch (IOException e) {
      cause.addSuppressed(e);
    }
    return new IOException(
        String.format(
            Locale.ROOT,
            "epoch %d is discarded, epoch %d stays committed: %s%s",
            epoch,
            committed,
            cause.getMessage(),
            where),
        cause);
  }

  static boolean isNoSpace(IOException e) {
    String message = String.valueOf(e.getMessage());
    return message.contains("No space left on device") || message.contains("quota exceeded");
  }

  /**
   * Stops the image at the last committed epoch: the unfinished epoch is refused at its next call,
   * every page in Fast has its committed content, and nothing changes until {@link #thaw}. A
   * promotion can be repeated with the same image.
   */
  public CommittedImage freeze() {
    int number;
    commitPoint.lock();
    try {
      if (frozen || closed) {
        throw new IllegalStateException("the image is " + (closed ? "closed" : "frozen already"));
      }
      frozen = true;
      number = freezes.incrementAndGet();
    } finally {
      commitPoint.unlock();
    }
    tiers.lock.lock();
    try {
      loop.frozen = true;
      loop.applyAll();
      tiers.changed.signalAll();
      return new FrozenImage(layout, tiers, () -> frozen && !closed && freezes.get() == number);
    } finally {
      tiers.lock.unlock();
    }
  }

  /** Follows the primary again; the next epoch has to be begun anew. */
  public void thaw() {
    tiers.lock.lock();
    try {
      loop.frozen = false;
      loop.planDue = true;
      frozen = false;
      tiers.changed.signalAll();
    } finally {
      tiers.lock.unlock();
    }
  }

  /** A paused guest has come, with no page placed; Fast is filled in the background. */
  public void attach(FastTier guest) {
    tiers.lock.lock();
    try {
      tiers.fast.attach(guest);
      loop.planDue = true;
      tiers.changed.signalAll();
    } finally {
      tiers.lock.unlock();
    }
  }

  /** The paused guest has gone; Fast is empty. Does nothing when none is attached. */
  public void detach() {
    tiers.lock.lock();
    try {
      tiers.fast.detach();
    } finally {
      tiers.lock.unlock();
    }
  }

  /**
   * Waits until every committed epoch is folded and the placement has reached its goal.
   *
   * @return false when that has not happened in time, or something prevents it
   */
  public boolean settle(Duration timeout) throws InterruptedException {
    long left = timeout.toNanos();
    tiers.lock.lock();
    try {
      while (!(loop.isIdle() && tiers.backlog.isEmpty() && !loop.planDue)) {
        if (left <= 0 || closed || loop.failure != null) {
          return false;
        }
        left = tiers.changed.awaitNanos(left);
      }
      return true;
    } finally {
      tiers.lock.unlock();
    }
  }

  /** Where the pages are now. */
  public TierCounts counts() {
    tiers.lock.lock();
    try {
      PageIndex index = tiers.index;
      long redoBytes = 0;
      for (RedoRecord record : tiers.backlog) {
        redoBytes += RedoFormat.dataOffset(record.entries);
      }
      String trouble = loop.failure != null ? loop.failure : loop.trouble;
      return new TierCounts(
          committed,
          index.pages,
          index.count(Location.ZERO),
          index.fastCount(),
          tiers.fastLimit(),
          index.count(Location.MEDIUM),
          (long) index.count(Location.MEDIUM) << Pages.SHIFT,
          index.count(Location.SLOW),
          tiers.slow.usedBytes(),
          index.count(Location.REDO),
          tiers.backlog.size(),
          tiers.medium.fileBytes() + tiers.slow.fileBytes() + journal.bytes() + redoBytes,
          moves(),
          policy.name(),
          tiers.fast.isAttached(),
          Optional.ofNullable(trouble));
    } finally {
      tiers.lock.unlock();
    }
  }

  /** Page numbers of one {@link Location} kind, for measurements. */
  int[] pagesOf(int kind) {
    tiers.lock.lock();
    try {
      return IntStream.range(0, layout.pages())
          .filter(page -> Location.kind(tiers.index.location[page]) == kind)
          .toArray();
    } finally {
      tiers.lock.unlock();
    }
  }

  private TierCounts.Moves moves() {
    Placement placement = loop.placement;
    return new TierCounts.Moves(
        placement.staged,
        placement.demoted,
        tiers.refreshed,
        placement.toMedium,
        placement.toSlow,
        stalls.get(),
        refused.get(),
        tiers.fast.losses());
  }

  /** Stops the commit thread and closes all files; committed epochs stay on disk. */
  @Override
  public void close() throws IOException {
    commitPoint.lock();
    try {
      if (closed) {
        return;
      }
      closed = true;
    } finally {
      commitPoint.unlock();
    }
    tiers.lock.lock();
    try {
      loop.closing = true;
      tiers.changed.signalAll();
    } finally {
      tiers.lock.unlock();
    }
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    try (directoryLock;
        journal) {
      writer.discard();
      tiers.close();
    }
  }
}
