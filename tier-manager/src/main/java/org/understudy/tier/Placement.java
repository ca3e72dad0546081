package org.understudy.tier;

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
    byte[] deviceState;
    tiers.lock.lock();
    try {
      deviceState = tiers.deviceState;
      candidates.set(tiers.index.nonZero);
      fastEnd = tiers.fast.isAttached() ? tiers.fastLimit() : 0;
      int limit = tiers.mediumLimit();
      mediumEnd = (int) Math.min(Integer.MAX_VALUE, (long) fastEnd + limit - limit / 16);
    } finally {
      tiers.lock.unlock();
    }
    if (deviceState != null) {
      policy.deviceState(deviceState);
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

  /** Chooses the next pages to move, maybe none, under the lock. */
  void choose(Relocation into) {
    into.to(Relocation.Target.FAST);
    if (left <= 0) {
      tiers.fast.flush();
      to(Phase.DONE);
      return;
    }
    switch (phase) {
      case FAST -> chooseForFast(into);
      case COUNT -> stepCount();
      case MAKE_ROOM -> chooseForSlow(into);
      case FILL -> chooseForMedium(into);
      case SAVE, DONE -> {}
    }
  }

  /** Puts the chosen pages where they belong, under the lock. */
  void put(Relocation moved) {
    boolean toFast = moved.target() == Relocation.Target.FAST;
    int count = toFast ? placeInFast(moved) : moved.put();
    switch (moved.target()) {
      case FAST -> staged += count;
      case MEDIUM -> toMedium += count;
      case SLOW -> toSlow += count;
      case STORE -> throw new IllegalArgumentException("placement does not fold");
    }
    // Only what was moved counts: a plan without moves has reached its goal.
    left -= count;
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

  private void chooseForFast(Relocation into) {
    PageIndex index = tiers.index;
    int end = Math.min(fastEnd, rank + SCAN);
    for (; !into.isFull() && into.chosen() < left && rank < end; rank++) {
      int page = order[rank];
      if (!index.fast.contains(page) && index.nonZero.contains(page)) {
        into.choose(page);
      }
    }
    if (into.chosen() == 0 && (rank >= fastEnd || !tiers.fast.isAttached())) {
      tiers.fast.flush();
      to(Phase.COUNT);
    }
  }

  private int placeInFast(Relocation moved) {
    int limit = tiers.fastLimit();
    int placed = 0;
    for (int i = 0; i < moved.carried() && tiers.fast.isAttached(); i++) {
      if (!moved.isCurrent(i) || tiers.index.fast.contains(moved.page(i))) {
        continue;
      }
      if (tiers.index.fastCount() >= limit && !takeOneOut()) {
        rank = fastEnd; // every page in Fast is one to keep
        break;
      }
      tiers.fast.place(moved.page(i), moved.content(i));
      placed++;
    }
    return placed;
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

  private void chooseForSlow(Relocation into) {
    into.to(Relocation.Target.SLOW);
    int end = Math.min(tiers.index.pages, victim + SCAN);
    for (; !into.isFull() && into.chosen() < Math.min(surplus, left) && victim < end; victim++) {
      if (kind(victim) == Location.MEDIUM
          && !keepMedium.contains(victim)
          && !(sparingFast && tiers.index.fast.contains(victim))) {
        into.choose(victim);
      }
    }
    surplus -= into.chosen();
    if (surplus <= 0 || (victim >= tiers.index.pages && !sparingFast)) {
      to(Phase.SAVE);
    } else if (victim >= tiers.index.pages) {
      sparingFast = false;
      victim = 0;
    }
  }

  private void chooseForMedium(Relocation into) {
    into.to(Relocation.Target.MEDIUM);
    int end = Math.min(mediumEnd, rank + SCAN);
    long most = Math.min(left, room());
    for (; !into.isFull() && into.chosen() < most && rank < end; rank++) {
      if (kind(order[rank]) == Location.SLOW) {
        into.choose(order[rank]);
      }
    }
    if (rank >= mediumEnd || into.chosen() >= most) {
      to(Phase.DONE);
    }
  }
}
