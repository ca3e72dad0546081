package org.understudy.tier;

import org.understudy.guest.GuestLayout;
import org.understudy.guest.Pages;

/**
 * A redo record: one epoch in one file, little-endian. Its data pages are raw and page-aligned, so
 * a record is read in place, as a store of its own, until its pages are folded.
 *
 * <pre>
 * 0      header, 4096 bytes: long MAGIC, int VERSION, int layout, int pages, int 0,
 *        long epoch, long previous committed epoch, zeros
 * 4096   data pages, 4096 bytes each, in the order they came
 *        entries, 8 bytes each, in the order they came: int page, int CRC32C of the content;
 *        with ZERO_PAGE set in page: a zero page, without data page
 *        device state
 *        footer, 48 bytes: long MAGIC, long epoch, long previous, int layout, int entries,
 *        int data pages, int bytes of device state, int CRC32C of entries and device state,
 *        int CRC32C of the 44 bytes of footer before this
 * </pre>
 *
 * <p>While it is written its name is {@code redo-EPOCH.part}; the rename to {@code redo-EPOCH} is
 * the commit. A later entry for a page overrides an earlier one.
 */
final class RedoFormat {
  static final long MAGIC = 0x3130_4f44_4552_4e55L; // "UNREDO01"
  static final int VERSION = 1;
  static final int HEADER_BYTES = Pages.SIZE;
  static final int ENTRY_BYTES = 8;
  static final int FOOTER_BYTES = 48;
  static final int ZERO_PAGE = 0x8000_0000;
  static final int MAX_STATE_BYTES = 64 << 20;
  static final String PREFIX = "redo-";
  static final String PART = ".part";

  private RedoFormat() {}

  /** Name of a record; twenty digits, so that names sort as epochs do. */
  static String name(long epoch) {
    return String.format("%s%020d", PREFIX, epoch);
  }

  static long dataOffset(int dataPage) {
    return HEADER_BYTES + ((long) dataPage << Pages.SHIFT);
  }

  /** A number that differs for other layouts: names, sizes and order of the blocks. */
  static int layoutCheck(GuestLayout layout) {
    return layout.hashCode(); // of strings and longs, the same in every JVM
  }
}
