package org.understudy.qemustream;

import java.nio.ByteBuffer;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;

/**
 * Taking pages out of the paused destination: migration/postcopy-ram.c of QEMU 7.2 and 10.0. The
 * command's data is a version byte, the block's name (length byte, bytes, a zero byte), then be64
 * start and be64 length of each range in bytes. Allowed after ADVISE and before LISTEN; the first
 * one turns transparent huge pages off for all of guest RAM.
 */
public final class PostcopyRam {
  /** {@code postcopy_ram_discard_version}. */
  public static final byte POSTCOPY_RAM_DISCARD_VERSION = 0;

  /** Ranges in one command. QEMU sends 12; its reader takes what the length says. */
  public static final int RANGES_PER_COMMAND = 256;

  private PostcopyRam() {}

  /** Bytes that a command of {@code ranges} ranges takes, with a name of {@code nameBytes}. */
  public static int discardBytes(int nameBytes, int ranges) {
    return Savevm.COMMAND_BYTES + 3 + nameBytes + 16 * ranges;
  }

  /**
   * One range of one block.
   *
   * @param start offset in the block, in bytes
   */
  public static void discard(ByteBuffer out, byte[] name, long start, long bytes) {
    head(out, name, 1);
    out.putLong(start).putLong(bytes);
  }

  /**
   * Puts one command that discards runs of {@code pages} from page {@code from} on, all in one
   * block.
   *
   * @param out with room for a command of {@link #RANGES_PER_COMMAND} ranges
   * @param names by block number
   * @return the first page that the command does not cover, or -1 when no page of the set is left;
   *     nothing is put if there is none from {@code from} on
   */
  public static int discard(
      ByteBuffer out, GuestLayout layout, byte[][] names, PageSet pages, int from) {
    int page = pages.next(from);
    if (page < 0) {
      return -1;
    }
    int block = layout.blockOf(page);
    int first = layout.firstPage(block);
    int end = first + layout.blocks().get(block).pages();
    int headAt = out.position();
    head(out, names[block], 0);
    int ranges = 0;
    while (page >= 0 && page < end && ranges < RANGES_PER_COMMAND) {
      int stop = Math.min(end, pages.nextAbsent(page));
      out.putLong((long) (page - first) << Pages.SHIFT);
      out.putLong((long) (stop - page) << Pages.SHIFT);
      ranges++;
      page = pages.next(stop);
    }
    int after = out.position();
    out.position(headAt);
    head(out, names[block], ranges);
    out.position(after);
    return page;
  }

  private static void head(ByteBuffer out, byte[] name, int ranges) {
    Savevm.command(
        out,
        Savevm.MIG_CMD_POSTCOPY_RAM_DISCARD,
        discardBytes(name.length, ranges) - Savevm.COMMAND_BYTES);
    out.put(POSTCOPY_RAM_DISCARD_VERSION).put((byte) name.length).put(name).put((byte) 0);
  }
}
