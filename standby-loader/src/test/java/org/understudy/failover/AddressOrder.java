package org.understudy.failover;

import org.understudy.guest.PageSet;
import org.understudy.tier.PlacementPolicy;

/** Pages in the order of their numbers. */
final class AddressOrder implements PlacementPolicy {
  @Override
  public void written(long epoch, PageSet pages) {}

  @Override
  public int mostUrgent(PageSet candidates, int[] into) {
    int count = 0;
    for (int page = candidates.next(0);
        page >= 0 && count < into.length;
        page = candidates.next(page + 1)) {
      into[count++] = page;
    }
    return count;
  }

  @Override
  public String name() {
    return "ADDRESS";
  }
}
