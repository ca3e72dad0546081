package org.understudy.failover;

import org.understudy.guest.PageSet;
import org.understudy.tier.CommittedImage;

/**
 * The order of pages that nobody asked for: the given ones, then the others that are not zero in
 * address order, then those that are.
 */
final class PushOrder {
  private final CommittedImage image;
  private final int[] urgentFirst;
  private final int pages;
  private int urgentAt;
  private int contentAt;
  private int zeroAt;

  PushOrder(CommittedImage image, int[] urgentFirst) {
    this.image = image;
    this.urgentFirst = urgentFirst;
    pages = image.layout().pages();
  }

  /** The next page that is not in {@code sent}, or -1 when all are. */
  int next(PageSet sent) {
    while (urgentAt < urgentFirst.length) {
      int page = urgentFirst[urgentAt++];
      if (!sent.contains(page)) {
        return page;
      }
    }
    while (contentAt < pages) {
      int page = sent.nextAbsent(contentAt);
      contentAt = page + 1;
      if (page < pages && !image.isZero(page)) {
        return page;
      }
    }
    int page = sent.nextAbsent(zeroAt);
    zeroAt = page;
    return page < pages ? page : -1;
  }
}
