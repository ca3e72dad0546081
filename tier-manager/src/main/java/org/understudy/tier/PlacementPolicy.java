package org.understudy.tier;

import org.understudy.guest.PageSet;

/**
 * Says which pages the guest will need soonest after a failover. The tiers ask it after a commit
 * and move pages towards its answer. Called by one thread.
 */
public interface PlacementPolicy {
  /** Epoch {@code epoch} has been committed and changed these pages. */
  void written(long epoch, PageSet pages);

  /** The device state of the newest committed epoch, as QEMU wrote it; not to be changed. */
  default void deviceState(byte[] file) {}

  /**
   * Ranks pages.
   *
   * @param candidates pages worth keeping: those that are not zero
   * @param into filled from index 0 with candidates, most urgent first
   * @return number of pages filled in, at most {@code into.length}
   */
  int mostUrgent(PageSet candidates, int[] into);

  /** One word for status, such as {@code RECENCY+FREQUENCY}. */
  String name();
}
