package org.understudy.qemustream;

import java.nio.ByteBuffer;
import org.understudy.guest.GuestLayout;

/**
 * The bitmap behind a MIG_RP_MSG_RECV_BITMAP, outside of that message's length: {@code
 * ramblock_recv_bitmap_send} in migration/ram.c of QEMU 7.2 and 10.0. be64 size in bytes, the
 * bitmap in little-endian words of 64 pages (1: received), be64 {@link #END}. Read in whatever
 * pieces it comes.
 */
final class ReceivedBitmap {
  /** {@code RAMBLOCK_RECV_BITMAP_ENDING}. */
  static final long END = 0x0123456789abcdefL;

  private final GuestLayout layout;
  private int block = -1;
  private int words; // of the block's bitmap
  private int at; // words read, -1 before the size

  ReceivedBitmap(GuestLayout layout) {
    this.layout = layout;
  }

  /** A message said that the bitmap of {@code announced} follows. */
  void expect(int announced) {
    block = announced;
    words = words(layout.blocks().get(announced).pages());
    at = -1;
  }

  private static int words(int pages) {
    return (pages + 63) / 64;
  }

  /** Whether a bitmap is not wholly read yet. */
  boolean isExpected() {
    return block >= 0;
  }

  /** Reads what is there, in units of 8 bytes. */
  void read(ByteBuffer in, ReturnPath.Receiver receiver) throws ReturnPathException {
    while (block >= 0 && in.remaining() >= 8) {
      long value = in.getLong();
      if (at < 0) {
        check(value, 8L * words, "bytes");
      } else if (at < words) {
        word(Long.reverseBytes(value), receiver);
      } else {
        check(value, END, "at its end");
        block = -1;
      }
      at++;
    }
  }

  private void word(long bits, ReturnPath.Receiver receiver) throws ReturnPathException {
    int pages = Math.min(64, layout.blocks().get(block).pages() - 64 * at);
    if (pages < 64 && bits >>> pages != 0) {
      throw new ReturnPathException(
          String.format(
              "return path: a bitmap of RAM block %s with pages beyond its %d",
              layout.blocks().get(block).name(), layout.blocks().get(block).pages()));
    }
    receiver.received(layout.firstPage(block) + 64 * at, bits);
  }

  private void check(long found, long expected, String what) throws ReturnPathException {
    if (found != expected) {
      throw new ReturnPathException(
          String.format(
              "return path: a bitmap of RAM block %s with 0x%x %s, expected 0x%x",
              layout.blocks().get(block).name(), found, what, expected));
    }
  }
}
