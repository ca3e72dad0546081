package org.understudy.standby;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.qemustream.PostcopyRam;
import org.understudy.qemustream.Ram;

/**
 * The last look before LISTEN: makes the pages in the guest exactly those that are meant to be
 * there. Whoever reads the memory of a paused standby (a screenshot, a dump, a memory peek) turns
 * missing pages into pages of zeros, which QEMU would not ask for any more.
 *
 * <p>A block in which what is meant to be there leaves few gaps has all of them discarded, which is
 * right whatever is in them. For a block with many gaps only the pages found present are discarded;
 * without a {@link PresenceProbe}, all gaps. QEMU must have read everything placed before.
 *
 * @param resident pages that are in the guest and right; the caller's own set, changed
 * @param stale pages placed with older content, taken out
 * @param strays pages somebody else brought into being, taken out (only counted where probed)
 * @param vanished pages placed and not present any more, to be sent again (only where probed)
 */
public record PresenceCheck(PageSet resident, int stale, int strays, int vanished) {
  /** Gaps in a block up to which discarding all of them is quicker than looking. */
  private static final int FEW_GAPS = 64;

  private static final int COMMAND_ROOM =
      PostcopyRam.discardBytes(255, PostcopyRam.RANGES_PER_COMMAND);

  /**
   * Discards what is not meant to be in the guest.
   *
   * @param wanted pages that may stay if they were placed
   * @param last cleared and left with the last commands, not flipped and not yet written: to be
   *     written together with LISTEN, so that nothing comes in between; at least 64 KiB
   */
  public static PresenceCheck clean(Possession standby, PageSet wanted, ByteBuffer last)
      throws IOException {
    GuestLayout layout = standby.layout();
    PageSet keep = standby.placed();
    PageSet drop = new PageSet(layout.pages());
    drop.set(keep);
    keep.retainAll(wanted);
    drop.removeAll(keep);
    int stale = drop.count();
    PageSet present = new PageSet(layout.pages());
    PageSet probed = new PageSet(layout.pages());
    for (int block = 0; block < layout.blocks().size(); block++) {
      int first = layout.firstPage(block);
      int end = layout.firstPage(block + 1);
      if (standby.presence() == null || hasFewGaps(keep, first, end)) {
        drop.addRange(first, end);
      } else {
        standby.presence().present(block, present);
        probed.addRange(first, end);
      }
    }
    drop.removeAll(keep);
    PageSet vanished = probed;
    vanished.retainAll(keep);
    vanished.removeAll(present);
    present.removeAll(keep);
    present.removeAll(drop);
    int strays = present.count();
    // QEMU remembers a vanished page as received and would never ask for it: discarding forgets it.
    keep.removeAll(vanished);
    drop.addAll(present);
    drop.addAll(vanished);
    discard(standby, drop, last);
    return new PresenceCheck(keep, stale, strays, vanished.count());
  }

  private static void discard(Possession standby, PageSet drop, ByteBuffer last)
      throws IOException {
    byte[][] names = Ram.names(standby.layout());
    last.clear();
    int page = 0;
    while (page >= 0) {
      if (last.remaining() < COMMAND_ROOM) {
        standby.write(last.flip());
        last.clear();
      }
      page = PostcopyRam.discard(last, standby.layout(), names, drop, page);
    }
  }

  private static boolean hasFewGaps(PageSet keep, int first, int end) {
    int gaps = 0;
    int page = first;
    while (page < end && gaps <= FEW_GAPS) {
      int gap = keep.nextAbsent(page);
      if (gap >= end) {
        break;
      }
      gaps++;
      int next = keep.next(gap);
      page = next < 0 ? end : next;
    }
    return gaps <= FEW_GAPS;
  }
}
