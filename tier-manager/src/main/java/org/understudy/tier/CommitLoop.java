package org.understudy.tier;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.fault.FaultPoint;
import org.understudy.guest.PageSet;

/**
 * The thread {@code commit}: takes committed epochs into the index, folds their pages into the
 * stores, makes the index durable and moves pages between the tiers. Everything goes in steps of
 * well under a millisecond; while the image is frozen no step is made.
 */
final class CommitLoop implements Runnable {
  private static final Logger LOG = LoggerFactory.getLogger(CommitLoop.class);
  private static final int APPLY_STEP = 128; // index entries
  private static final int FREE_STEP = 8192; // locations
  private static final int MANY_FREED = 1 << 16;
  private static final long RETRY_NS = TimeUnit.MILLISECONDS.toNanos(200);

  private enum Work {
    APPLY,
    FOLD,
    SAVE,
    PLAN,
    MOVE,
    NONE
  }

  final Placement placement;
  private final Tiers tiers;
  private final IndexJournal journal;

  private final Relocation relocation;
  private RedoRecord folding; // whose pages are in the relocation
  private int foldedBefore;
  private int foldedDataBefore;

  // Guarded by the lock of tiers.
  boolean frozen;
  boolean closing;
  boolean planDue;
  String trouble; // why folding waits, null when it does not
  String failure; // why folding has ended for good
  private long retryAtNs;
  private boolean movesTurn; // moves come before the next fold
  private int saves;
  private boolean idle;

  CommitLoop(Tiers tiers, IndexJournal journal, PlacementPolicy policy) {
    this.tiers = tiers;
    this.journal = journal;
    placement = new Placement(tiers, policy);
    relocation = new Relocation(tiers);
  }

  /** Whether nothing is left to do, or nothing can be done. */
  boolean isIdle() {
    return idle;
  }

  @Override
  public void run() {
    try {
      Work work = Work.NONE;
      while (work != null) {
        work = stepOrWait();
        if (work == Work.SAVE) {
          save();
        } else if (work == Work.PLAN) {
          placement.plan(movesAllowed());
        } else if (work == Work.FOLD) {
          fold();
        } else if (work == Work.MOVE) {
          move();
        }
      }
    } catch (RuntimeException | Error e) {
      LOG.error("the commit thread ends", e);
      fail("the commit thread ended: " + e);
    }
  }

  /** Makes a step that needs the lock; returns the work that does not, or null at the end. */
  private Work stepOrWait() {
    tiers.lock.lock();
    try {
      Work work;
      while ((work = frozen ? Work.NONE : next()) == Work.NONE && !closing) {
        idle = true;
        tiers.changed.signalAll();
        try {
          if (trouble == null || frozen) {
            tiers.changed.await();
          } else {
            tiers.changed.awaitNanos(Math.max(1, retryAtNs - System.nanoTime()));
          }
        } catch (InterruptedException e) {
          LOG.warn("the commit thread was interrupted and goes on");
        }
      }
      idle = false;
      if (closing) {
        return null;
      }
      if (work == Work.APPLY) {
        apply();
      } else if (work == Work.FOLD) {
        folding = tiers.oldestUnfolded();
        foldedBefore = folding.folded;
        foldedDataBefore = folding.foldedData;
        relocation.to(Relocation.Target.STORE);
        tiers.chooseUnfolded(folding, relocation);
      } else if (work == Work.MOVE) {
        placement.choose(relocation);
      }
      return work;
    } finally {
      tiers.lock.unlock();
    }
  }

  private Work next() {
    if (tiers.hasUnapplied()) {
      return Work.APPLY;
    }
    boolean mayStore = failure == null && (trouble == null || System.nanoTime() >= retryAtNs);
    if (mayStore && (!tiers.foldedHead().isEmpty() || tiers.freedCount() > MANY_FREED)) {
      return Work.SAVE;
    }
    boolean mayFold = mayStore && tiers.oldestUnfolded() != null;
    if (movesTurn || !mayFold) {
      if (planDue) {
        planDue = false;
        return Work.PLAN;
      }
      if (placement.hasMoves()) {
        return Work.MOVE;
      }
      movesTurn = false;
    }
    if (mayFold) {
      return Work.FOLD;
    }
    if (mayStore && (tiers.freedCount() > 0 || placement.wantsSave())) {
      return Work.SAVE;
    }
    if (placement.isCut() && tiers.fast.isAttached() && failure == null && trouble == null) {
      return Work.PLAN;
    }
    return Work.NONE;
  }

  private int movesAllowed() {
    tiers.lock.lock();
    try {
      int moves = tiers.settings.movesPerEpoch();
      return tiers.backlog.size() > 1 ? Math.max(1, moves / 8) : moves;
    } finally {
      tiers.lock.unlock();
    }
  }

  /** Carries the chosen pages of a record to a store. */
  private void fold() {
    IOException failure = carry();
    tiers.lock.lock();
    try {
      if (!frozen) {
        relocation.put();
      } else {
        relocation.drop();
      }
      if (frozen || failure != null) {
        folding.folded = foldedBefore;
        folding.foldedData = foldedDataBefore;
      }
      if (failure != null) {
        stuck(failure);
      } else {
        trouble = null;
      }
    } finally {
      tiers.lock.unlock();
    }
  }

  /** Carries the pages chosen by the placement. */
  private void move() {
    if (relocation.chosen() == 0) {
      return;
    }
    IOException failure = carry();
    tiers.lock.lock();
    try {
      if (!frozen) {
        placement.put(relocation);
      } else {
        relocation.drop();
      }
      if (failure != null) {
        placement.cancel();
        stuck(failure);
      }
    } finally {
      tiers.lock.unlock();
    }
  }

  private IOException carry() {
    try {
      relocation.carry();
      return null;
    } catch (IOException e) {
      return e;
    }
  }

  /** A step of apply, under the lock. */
  private void apply() {
    tiers.apply(APPLY_STEP);
    if (!tiers.hasUnapplied()) {
      tiers.fast.flush();
      planDue = true;
    }
  }

  /** All of apply at once, for a freeze, under the lock. */
  void applyAll() {
    while (tiers.hasUnapplied()) {
      tiers.apply(Integer.MAX_VALUE);
      planDue = true;
    }
    tiers.fast.flush();
  }

  /** Makes the index durable, then gives back what only the one before needed. */
  private void save() {
    PageIndex index = tiers.index;
    PageSet pages = new PageSet(index.pages);
    PageSet nonZero = new PageSet(index.pages);
    List<RedoRecord> folded;
    long[] freed;
    tiers.lock.lock();
    try {
      folded = tiers.foldedHead();
      freed = tiers.takeFreed();
      pages.set(index.unsaved);
      nonZero.set(index.nonZero);
      index.unsaved.clear();
    } finally {
      tiers.lock.unlock();
    }
    FaultPoint.INDEX_SAVING.reached();
    RedoRecord last = folded.isEmpty() ? null : folded.get(folded.size() - 1);
    String what = "sync of Medium and Slow";
    boolean syncing = true;
    try {
      tiers.medium.sync();
      tiers.slow.sync();
      syncing = false;
      what = "writing the index";
      journal.append(
          pages,
          nonZero,
          this::putEntries,
          last == null ? journal.epoch() : last.epoch,
          last == null ? journal.deviceState() : last.deviceState);
    } catch (IOException e) {
      tiers.lock.lock();
      try {
        index.unsaved.addAll(pages);
        tiers.giveBackFreed(freed);
        if (syncing || !StandbyImage.isNoSpace(e)) {
          // After a failed sync nobody knows what is on the disk; a restart reads it back.
          fail(what + " failed: " + e.getMessage());
        } else {
          stuck(e);
        }
      } finally {
        tiers.lock.unlock();
      }
      return;
    }
    release(folded, freed);
  }

  private int putEntries(int from, PageSet of, ByteBuffer into) {
    tiers.lock.lock();
    try {
      int page = from;
      while (page >= 0 && into.remaining() >= 16) {
        long location = tiers.index.location[page];
        boolean redo = Location.kind(location) == Location.REDO;
        into.putInt(page).putInt(tiers.index.check[page]);
        into.putLong(redo ? Location.IN_LATER_REDO : location);
        page = of.next(page + 1);
      }
      return page;
    } finally {
      tiers.lock.unlock();
    }
  }

  private void release(List<RedoRecord> folded, long[] freed) {
    for (int done = 0; done < freed.length; ) {
      tiers.lock.lock();
      try {
        int end = Math.min(freed.length, done + FREE_STEP);
        while (done < end) {
          tiers.free(freed[done++]);
        }
      } finally {
        tiers.lock.unlock();
      }
    }
    tiers.lock.lock();
    try {
      folded.forEach(tiers::drop);
      placement.saved();
      // While commits wait for room, moves get one turn in four.
      movesTurn = tiers.backlog.size() <= 1 || ++saves % 4 == 0;
      trouble = null;
    } finally {
      tiers.lock.unlock();
    }
    for (RedoRecord record : folded) {
      try {
        record.delete();
      } catch (IOException e) {
        LOG.warn("{} stays on disk until the image is opened again: {}", record.file.path(), e);
      }
    }
  }

  private void stuck(IOException e) {
    if (trouble == null) {
      LOG.warn("folding waits: {}", e.getMessage());
    }
    trouble = e.getMessage();
    retryAtNs = System.nanoTime() + RETRY_NS;
    tiers.changed.signalAll();
  }

  private void fail(String why) {
    LOG.error("no epoch can be folded any more: {}", why);
    tiers.lock.lock();
    try {
      failure = why;
      tiers.changed.signalAll();
    } finally {
      tiers.lock.unlock();
    }
  }
}
