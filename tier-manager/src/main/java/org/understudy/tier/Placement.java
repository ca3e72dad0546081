package org.understudy.tier;

import java.io.IOException;
import org.understudy.guest.PageSet;

/**
 * Moves pages towards the policy's order: its first pages into Fast as far as the budget goes, the
 * next ones into Medium, the rest stays or goes to Slow. A page leaves a tier only for a better
 * one, and only when its rank is an eighth of the tier's size below the tier's end: so pages near
 * the border do not go back and forth. A plan makes a bounded number of moves, in small steps under
 * the lock of {@link Tiers}. Belongs to the commit thread.
 */
final class Placement {
  private static final int SCAN = 8192; // pages or ranks looked at in a step

  /** What a plan does next. */
  private enum Phase {
    FAST,
    COUNT,
    MAKE_ROOM,
    SAVE,
    FILL,
    DONE
  }

  private final Tiers tiers;
  private final PlacementPolicy policy;
  private final PageSet candidates;
  private final PageSet keepFast;
  private final PageSet keepMedium;
  private int[] order = {};
  private int ranked;
  private int fastEnd; // ranks below belong to Fast
  private int mediumEnd; // ranks from fastEnd and below belong to Medium
  private int rank; // cursor
  private int victim; // cursor over page numbers
  private int wanted; // pages of Slow that belong to Medium
  private int surplus; // pages still to go from Medium to Slow
  private boolean sparingFast; // the first pass over Medium leaves the copies of Fast pages
  private int left; // moves left in this plan
  private Phase phase = Phase.DONE;

  long staged;
  long demoted;
  long toMedium;
  long toSlow;

  Placement(Tiers tiers, PlacementPolicy policy) {
    this.tiers = tiers;
    this.policy = policy;
    candidates = new PageSet(tiers.index.pages);
    keepFast = new PageSet(tiers.index.pages);
    keepMedium = new PageSet(tiers.index.pages);
  }

  /** Asks the policy; takes the lock only to look. */
  void plan(int moves) {
    RedoRecord told;
    while ((told = nextUntold()) != null) {
      policy.written(told.epoch, told.written);
    }
    tiers.lock.lock();
    try {
      candidates.set(tiers.index.nonZero);
      fastEnd = tiers.fast.isAttached() ? tiers.fastLimit() : 0;
      int limit = tiers.mediumLimit();
      mediumEnd = (int) Math.min(Integer.MAX_VALUE, (long) fastEnd + limit - limit / 16);
    } finally {
      tiers.lock.unlock();
    }
    int slack = (mediumEnd - fastEnd) / 8;
    int longest = (int) Math.min(candidates.count(), (long) mediumEnd + slack);
    if (order.length != longest) {
      order = new int[longest];
    }
    ranked = policy.mostUrgent(candidates, order);
    keepFast.clear();
    keepMedium.clear();
    for (int i = 0; i < ranked; i++) {
      if (i < fastEnd + fastEnd / 8) {
        keepFast.add(order[i]);
      }
      if (i >= fastEnd) {
        keepMedium.add(order[i]);
      }
    }
    fastEnd = Math.min(fastEnd, ranked);
    mediumEnd = Math.min(mediumEnd, ranked);
    left = moves;
    to(Phase.FAST);
  }

  private RedoRecord nextUntold() {
    tiers.lock.lock();
    try {
      return tiers.untold.poll();
    } finally {
      tiers.lock.unlock();
    }
  }

  boolean hasMoves() {
    return phase != Phase.DONE && phase != Phase.SAVE;
  }

  /** Whether the plan goes on once the freed room of its moves can be used. */
  boolean wantsSave() {
    return phase == Phase.SAVE;
  }

  void saved() {
    if (phase == Phase.SAVE) {
      to(Phase.FILL);
    }
  }

  /** Whether the last plan ended for its bound, not at its goal. */
  boolean isCut() {
    return left <= 0;
  }

  void cancel() {
    to(Phase.DONE);
  }

  /**
   * Makes up to {@code moves} moves, under the lock.
   *
   * @throws IOException when a store is full or fails; the plan is over then
   */
  void step(int moves) throws IOException {
    int bound = Math.min(moves, left);
    if (bound <= 0) {
      if (phase == Phase.FAST) {
        tiers.fast.flush();
      }
      to(Phase.DONE);
      return;
    }
    try {
      switch (phase) {
        case FAST -> stepFast(bound);
        case COUNT -> stepCount();
        case MAKE_ROOM -> stepMakeRoom(bound);
        case FILL -> stepFill(bound);
        case SAVE, DONE -> {}
      }
    } catch (IOException e) {
      to(Phase.DONE);
      throw e;
    }
  }

  private void to(Phase next) {
    phase = next;
    rank = next == Phase.FAST ? 0 : fastEnd;
    victim = 0;
    if (next == Phase.COUNT) {
      wanted = 0;
    }
    sparingFast = true;
  }

  private void stepFast(int bound) throws IOException {
    PageIndex index = tiers.index;
    int end = Math.min(fastEnd, rank + SCAN);
    int limit = tiers.fastLimit();
    for (; bound > 0 && rank < end && tiers.fast.isAttached(); rank++) {
      int page = order[rank];
      if (index.fast.contains(page) || !index.nonZero.contains(page)) {
        continue;
      }
      if (index.fastCount() >= limit && !takeOneOut()) {
        rank = fastEnd;
        break;
      }
      tiers.stage(page);
      staged++;
      bound--;
      left--;
    }
    if (rank >= fastEnd || !tiers.fast.isAttached()) {
      tiers.fast.flush();
      to(Phase.COUNT);
    }
  }

  private boolean takeOneOut() {
    PageSet fast = tiers.index.fast;
    for (victim = fast.next(victim); victim >= 0; victim = fast.next(victim + 1)) {
      if (!keepFast.contains(victim)) {
        tiers.fast.takeOut(victim);
        demoted++;
        return true;
      }
    }
    victim = tiers.index.pages;
    return false;
  }

  private int kind(int page) {
    return Location.kind(tiers.index.location[page]);
  }

  private void stepCount() {
    int end = Math.min(mediumEnd, rank + SCAN);
    for (; rank < end; rank++) {
      wanted += kind(order[rank]) == Location.SLOW ? 1 : 0;
    }
    if (rank < mediumEnd) {
      return;
    }
    long room = room();
    // Beyond the limit pages go whether somebody wants their room or not.
    long excess = -room - tiers.mediumLimit() / 16;
    surplus = (int) Math.max(Math.min(wanted, left) - Math.max(room, 0), Math.max(excess, 0));
    to(surplus > 0 ? Phase.MAKE_ROOM : wanted > 0 ? Phase.FILL : Phase.DONE);
  }

  /** Pages that still fit into Medium beside the sixteenth kept free for what commits write. */
  private long room() {
    int limit = tiers.mediumLimit();
    return limit - limit / 16 - (tiers.medium.usedBytes() >> org.understudy.guest.Pages.SHIFT);
  }

  private void stepMakeRoom(int bound) throws IOException {
    int end = Math.min(tiers.index.pages, victim + SCAN);
    for (; bound > 0 && surplus > 0 && victim < end; victim++) {
      if (kind(victim) == Location.MEDIUM
          && !keepMedium.contains(victim)
          && !(sparingFast && tiers.index.fast.contains(victim))) {
        tiers.demote(victim);
        toSlow++;
        surplus--;
        bound--;
        left--;
      }
    }
    if (surplus == 0 || (victim >= tiers.index.pages && !sparingFast)) {
      to(Phase.SAVE);
    } else if (victim >= tiers.index.pages) {
      sparingFast = false;
      victim = 0;
    }
  }

  private void stepFill(int bound) throws IOException {
    int end = Math.min(mediumEnd, rank + SCAN);
    for (; bound > 0 && rank < end; rank++) {
      if (kind(order[rank]) != Location.SLOW) {
        continue;
      }
      if (room() <= 0 || !tiers.promote(order[rank])) {
        rank = mediumEnd;
        break;
      }
      toMedium++;
      bound--;
      left--;
    }
    if (rank >= mediumEnd) {
      to(Phase.DONE);
    }
  }
}
