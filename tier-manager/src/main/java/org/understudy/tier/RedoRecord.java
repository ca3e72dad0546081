package org.understudy.tier;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32C;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;

/** A committed epoch that is not folded yet: its entries in memory, its pages in the file. */
final class RedoRecord implements Closeable {
  final long epoch;
  final long previous;
  final int[] entryPage; // with RedoFormat.ZERO_PAGE
  final int[] entryCheck;
  final int entries;
  final byte[] deviceState;
  final PageSet written;
  final PageFile file;

  int id; // in Location.REDO, set by Tiers
  int applied; // entries that the index knows
  int appliedData; // data pages among them
  int folded; // entries that fold has passed
  int foldedData;
  int live; // pages whose index entry is in this record

  RedoRecord(
      PageFile file,
      long[] epochs,
      int[] entryPage,
      int[] entryCheck,
      int entries,
      byte[] deviceState,
      PageSet written) {
    this.file = file;
    epoch = epochs[0];
    previous = epochs[1];
    this.entryPage = entryPage;
    this.entryCheck = entryCheck;
    this.entries = entries;
    this.deviceState = deviceState;
    this.written = written;
  }

  /**
   * Reads a committed record's entries back.
   *
   * @throws IOException when the file is not a whole record of this guest
   */
  static RedoRecord open(Path path, GuestLayout layout) throws IOException {
    PageFile file = PageFile.open(path);
    try {
      return read(file, layout);
    } catch (IOException | RuntimeException e) {
      file.close();
      throw e;
    }
  }

  private static RedoRecord read(PageFile file, GuestLayout layout) throws IOException {
    long size = file.size();
    if (size < RedoFormat.HEADER_BYTES + RedoFormat.FOOTER_BYTES) {
      throw new IOException(file.path() + " of " + size + " bytes is no redo record");
    }
    ByteBuffer footer = buffer(RedoFormat.FOOTER_BYTES);
    file.read(size - RedoFormat.FOOTER_BYTES, footer);
    footer.flip();
    CRC32C crc = new CRC32C();
    crc.update(footer.duplicate().limit(RedoFormat.FOOTER_BYTES - 4));
    if (footer.getLong() != RedoFormat.MAGIC
        || footer.getInt(RedoFormat.FOOTER_BYTES - 4) != (int) crc.getValue()) {
      throw new IOException(file.path() + " has no valid footer at " + (size - footer.limit()));
    }
    long[] epochs = {footer.getLong(), footer.getLong()};
    int check = footer.getInt();
    if (check != RedoFormat.layoutCheck(layout)) {
      throw new IOException(
          String.format(
              "%s is of a guest with layout %08x, expected %08x",
              file.path(), check, RedoFormat.layoutCheck(layout)));
    }
    int entries = footer.getInt();
    int dataPages = footer.getInt();
    int stateBytes = footer.getInt();
    long expected =
        RedoFormat.dataOffset(dataPages)
            + (long) entries * RedoFormat.ENTRY_BYTES
            + stateBytes
            + RedoFormat.FOOTER_BYTES;
    if (entries < 0 || dataPages < 0 || dataPages > entries || stateBytes < 0 || expected != size) {
      throw new IOException(
          file.path()
              + " has "
              + size
              + " bytes, its footer says "
              + expected
              + " with "
              + entries
              + " entries, "
              + dataPages
              + " data pages, "
              + stateBytes
              + " bytes of device state");
    }
    int[] entryPage = new int[entries];
    int[] entryCheck = new int[entries];
    byte[] state = new byte[stateBytes];
    PageSet written = new PageSet(layout.pages());
    crc.reset();
    long at = RedoFormat.dataOffset(dataPages);
    ByteBuffer chunk = buffer(64 << 10);
    int data = 0;
    for (int i = 0; i < entries; ) {
      chunk.clear();
      chunk.limit(Math.min(chunk.capacity(), (entries - i) * RedoFormat.ENTRY_BYTES));
      file.read(at, chunk);
      chunk.flip();
      at += chunk.limit();
      crc.update(chunk.duplicate());
      for (; chunk.hasRemaining(); i++) {
        entryPage[i] = chunk.getInt();
        entryCheck[i] = chunk.getInt();
        int page = entryPage[i] & ~RedoFormat.ZERO_PAGE;
        if (page >= layout.pages()) {
          throw new IOException(
              file.path() + " entry " + i + " names page " + page + " of " + layout.pages());
        }
        written.add(page);
        data += entryPage[i] >= 0 ? 1 : 0;
      }
    }
    file.read(at, ByteBuffer.wrap(state));
    crc.update(state);
    if (data != dataPages || footer.getInt() != (int) crc.getValue()) {
      throw new IOException(file.path() + " is damaged: CRC32C of entries and device state");
    }
    return new RedoRecord(file, epochs, entryPage, entryCheck, entries, state, written);
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Reads a data page to the position of {@code into}, which moves. */
  void read(int dataPage, ByteBuffer into) throws IOException {
    int limit = into.limit();
    into.limit(into.position() + Pages.SIZE);
    try {
      file.read(RedoFormat.dataOffset(dataPage), into);
    } finally {
      into.limit(limit);
    }
  }

  boolean isApplied() {
    return applied == entries;
  }

  void delete() throws IOException {
    file.close();
    Files.deleteIfExists(file.path());
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
