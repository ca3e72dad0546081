package org.understudy.qemustream;

import java.nio.ByteBuffer;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.Pages;

/**
 * What the destination says: migration/migration.h and migration/migration.c of QEMU 7.2 and 10.0.
 * A message is be16 type, be16 length, data. Reads whole messages out of a buffer and allocates
 * nothing; nothing is believed before it is checked. One thread at a time.
 */
public final class ReturnPath {
  public static final int MIG_RP_MSG_SHUT = 1;
  public static final int MIG_RP_MSG_PONG = 2;
  public static final int MIG_RP_MSG_REQ_PAGES_ID = 3;
  public static final int MIG_RP_MSG_REQ_PAGES = 4;
  public static final int MIG_RP_MSG_RECV_BITMAP = 5;
  public static final int MIG_RP_MSG_RESUME_ACK = 6;

  /** Longest message: REQ_PAGES_ID with a name of 255 bytes. */
  public static final int LONGEST_BYTES = 4 + 13 + 255;

  /** {@code MIGRATION_RESUME_ACK_VALUE}. */
  static final int MIGRATION_RESUME_ACK_VALUE = 1;

  /**
   * Pages that one request may ask for. QEMU asks for one page of the memory behind the block, so
   * more than this is huge pages, which the stream's RAM list has no fields for.
   */
  public static final int LONGEST_REQUEST_PAGES = 16;

  /** Receives the messages; called in the stream's order. */
  public interface Receiver {
    /** The sibling of a PING. */
    void pong(int number);

    /** Pages {@code first} to {@code first + count} - 1 are wanted now. */
    void requested(int first, int count);

    /** The destination is done; {@code error} is 0 if all is well. */
    void shut(int error);

    /**
     * Which of 64 pages the destination has, of a stream that takes over from a broken one.
     *
     * @param first the page of bit 0
     * @param bits only bits of pages of one block are set
     */
    default void received(int first, long bits) {}

    /** The destination takes the pages of this stream from now on. */
    default void resumed() {}
  }

  private final GuestLayout layout;
  private final byte[][] names;
  private final ReceivedBitmap bitmap; // null unless this stream asks for bitmaps
  private int block = -1; // of the last REQ_PAGES_ID

  /** For requests of pages of {@code layout}. */
  public ReturnPath(GuestLayout layout) {
    this(layout, false);
  }

  private ReturnPath(GuestLayout layout, boolean recovery) {
    this.layout = layout;
    names = Ram.names(layout);
    bitmap = recovery ? new ReceivedBitmap(layout) : null;
  }

  /** Of a stream that takes over from a broken one, and asks what has been received. */
  public static ReturnPath ofRecovery(GuestLayout layout) {
    return new ReturnPath(layout, true);
  }

  /**
   * Reads all whole messages between position and limit; leaves the position at the first one that
   * is not whole yet.
   *
   * @param in big-endian
   * @throws ReturnPathException the bytes cannot be a message of QEMU's
   */
  public void read(ByteBuffer in, Receiver receiver) throws ReturnPathException {
    while (in.remaining() >= 4) {
      if (bitmap != null && bitmap.isExpected()) {
        bitmap.read(in, receiver);
        if (bitmap.isExpected()) {
          return;
        }
        continue;
      }
      int at = in.position();
      int type = in.getShort(at) & 0xffff;
      int length = in.getShort(at + 2) & 0xffff;
      checkLength(type, length);
      if (in.remaining() < 4 + length) {
        return;
      }
      switch (type) {
        case MIG_RP_MSG_SHUT -> receiver.shut(in.getInt(at + 4));
        case MIG_RP_MSG_PONG -> receiver.pong(in.getInt(at + 4));
        case MIG_RP_MSG_REQ_PAGES_ID -> {
          block = named(in, at + 16, length - 12);
          request(in, at + 4, receiver);
        }
        case MIG_RP_MSG_RECV_BITMAP -> bitmap.expect(named(in, at + 4, length));
        case MIG_RP_MSG_RESUME_ACK -> resumed(in.getInt(at + 4), receiver);
        default -> request(in, at + 4, receiver);
      }
      in.position(at + 4 + length);
    }
  }

  private static void resumed(int value, Receiver receiver) throws ReturnPathException {
    if (value != MIGRATION_RESUME_ACK_VALUE) {
      throw new ReturnPathException(
          "return path: a resume acknowledged with "
              + value
              + ", expected "
              + MIGRATION_RESUME_ACK_VALUE);
    }
    receiver.resumed();
  }

  private void checkLength(int type, int length) throws ReturnPathException {
    if (bitmap == null && (type == MIG_RP_MSG_RECV_BITMAP || type == MIG_RP_MSG_RESUME_ACK)) {
      throw new ReturnPathException(
          String.format("return path: message type %d, which nobody asked for", type));
    }
    boolean good =
        switch (type) {
          case MIG_RP_MSG_SHUT, MIG_RP_MSG_PONG, MIG_RP_MSG_RESUME_ACK -> length == 4;
          case MIG_RP_MSG_RECV_BITMAP -> length >= 2 && length <= 1 + 255;
          case MIG_RP_MSG_REQ_PAGES -> length == 12;
          case MIG_RP_MSG_REQ_PAGES_ID -> length >= 14 && length <= LONGEST_BYTES - 4;
          default ->
              throw new ReturnPathException(
                  String.format(
                      "return path: message type %d of %d bytes, expected types 1 to 6",
                      type, length));
        };
    if (!good) {
      throw new ReturnPathException(
          String.format("return path: message type %d of %d bytes", type, length));
    }
  }

  /** The number of the block whose counted name is at {@code at}. */
  private int named(ByteBuffer in, int at, int bytes) throws ReturnPathException {
    int length = in.get(at) & 0xff;
    if (length != bytes - 1) {
      throw new ReturnPathException(
          "return path: a block name of " + length + " bytes in " + (bytes - 1));
    }
    for (int i = 0; i < names.length; i++) {
      if (names[i].length == length && equal(names[i], in, at + 1)) {
        return i;
      }
    }
    StringBuilder name = new StringBuilder();
    for (int i = 0; i < length; i++) {
      int character = in.get(at + 1 + i);
      name.append(character > ' ' && character < 127 ? (char) character : '?');
    }
    throw new ReturnPathException(
        "return path: RAM block \"" + name + "\", which the layout does not have");
  }

  private static boolean equal(byte[] name, ByteBuffer in, int at) {
    for (int i = 0; i < name.length; i++) {
      if (in.get(at + i) != name[i]) {
        return false;
      }
    }
    return true;
  }

  private void request(ByteBuffer in, int at, Receiver receiver) throws ReturnPathException {
    long offset = in.getLong(at);
    long bytes = in.getInt(at + 8) & 0xffffffffL;
    if (block < 0) {
      throw new ReturnPathException(
          String.format(
              "return path: a request for %d bytes at 0x%x before any block was named",
              bytes, offset));
    }
    long blockBytes = layout.blocks().get(block).bytes();
    if (bytes > (long) LONGEST_REQUEST_PAGES * Pages.SIZE) {
      throw new ReturnPathException(
          String.format(
              "return path: a request for %d bytes of RAM block %s: memory on huge pages is not"
                  + " supported",
              bytes, layout.blocks().get(block).name()));
    }
    if (bytes == 0
        || bytes % Pages.SIZE != 0
        || offset < 0
        || offset % Pages.SIZE != 0
        || offset > blockBytes - bytes) {
      throw new ReturnPathException(
          String.format(
              "return path: a request for %d bytes at 0x%x of RAM block %s of 0x%x bytes",
              bytes, offset, layout.blocks().get(block).name(), blockBytes));
    }
    receiver.requested(layout.pageAt(block, offset), (int) (bytes >> Pages.SHIFT));
  }
}
