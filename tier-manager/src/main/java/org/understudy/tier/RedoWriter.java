package org.understudy.tier;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.CRC32C;
import org.understudy.fault.FaultPoint;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;

/**
 * Writes redo records, one after the other, through one 1 MiB buffer. Belongs to the receiving
 * thread.
 */
final class RedoWriter {
  private static final int SLAB_BYTES = 1 << 20;

  private final Path directory;
  private final GuestLayout layout;
  private final ByteBuffer slab =
      ByteBuffer.allocateDirect(SLAB_BYTES).order(ByteOrder.LITTLE_ENDIAN);
  private final CRC32C crc = new CRC32C();

  private PageFile file; // null: no epoch begun
  private long epoch;
  private long previous;
  private long at; // file offset of the slab's first byte
  private int[] entryPage = new int[0];
  private int[] entryCheck = new int[0];
  private int entries;
  private int dataPages;
  private byte[] deviceState;
  private PageSet written;

  RedoWriter(Path directory, GuestLayout layout) {
    this.directory = directory;
    this.layout = layout;
  }

  boolean isOpen() {
    return file != null;
  }

  long epoch() {
    return epoch;
  }

  void begin(long number, long previousEpoch) throws IOException {
    epoch = number;
    previous = previousEpoch;
    Path part = directory.resolve(RedoFormat.name(number) + RedoFormat.PART);
    Files.deleteIfExists(part);
    file = PageFile.open(part);
    at = 0;
    // Sized as the last epoch was; the arrays themselves went away with its record.
    entryPage = new int[Math.max(64, Math.min(entries, layout.pages()))];
    entryCheck = new int[entryPage.length];
    entries = 0;
    dataPages = 0;
    deviceState = null;
    written = new PageSet(layout.pages());
    slab.clear();
    slab.putLong(RedoFormat.MAGIC).putInt(RedoFormat.VERSION);
    slab.putInt(RedoFormat.layoutCheck(layout)).putInt(layout.pages()).putInt(0);
    slab.putLong(number).putLong(previousEpoch);
    while (slab.position() < RedoFormat.HEADER_BYTES) {
      slab.putLong(0);
    }
  }

  void page(int page, ByteBuffer content) throws IOException {
    int start = content.position();
    if (content.remaining() < Pages.SIZE) {
      throw new IllegalArgumentException(
          "page " + page + " of " + content.remaining() + " bytes, expected " + Pages.SIZE);
    }
    if (Pages.isZero(content, start)) {
      zeroPage(page);
      content.position(start + Pages.SIZE);
      return;
    }
    written.add(page);
    if (slab.remaining() < Pages.SIZE) {
      flush();
    }
    int slot = slab.position();
    slab.put(slot, content, start, Pages.SIZE);
    content.position(start + Pages.SIZE);
    slab.limit(slot + Pages.SIZE);
    crc.reset();
    crc.update(slab); // moves the slab's position past the page
    slab.limit(SLAB_BYTES);
    entry(page, (int) crc.getValue());
    dataPages++;
  }

  void zeroPage(int page) {
    written.add(page);
    entry(page | RedoFormat.ZERO_PAGE, 0);
  }

  void deviceState(ByteBuffer state) {
    if (state.remaining() > RedoFormat.MAX_STATE_BYTES) {
      throw new IllegalArgumentException(
          "device state of "
              + state.remaining()
              + " bytes, expected at most "
              + RedoFormat.MAX_STATE_BYTES);
    }
    deviceState = new byte[state.remaining()];
    state.get(deviceState);
  }

  boolean hasDeviceState() {
    return deviceState != null;
  }

  /** Writes the rest of the record and makes it durable under its unfinished name. */
  void finish() throws IOException {
    crc.reset();
    for (int i = 0; i < entries; i++) {
      if (slab.remaining() < RedoFormat.ENTRY_BYTES) {
        flush();
      }
      int start = slab.position();
      slab.putInt(entryPage[i]).putInt(entryCheck[i]);
      checksum(start, slab.position());
    }
    flush();
    file.write(at, ByteBuffer.wrap(deviceState));
    at += deviceState.length;
    crc.update(deviceState);
    slab.putLong(RedoFormat.MAGIC).putLong(epoch).putLong(previous);
    slab.putInt(RedoFormat.layoutCheck(layout)).putInt(entries).putInt(dataPages);
    slab.putInt(deviceState.length).putInt((int) crc.getValue());
    crc.reset();
    checksum(0, slab.position());
    slab.putInt((int) crc.getValue());
    flush();
    FaultPoint.EPOCH_WRITTEN.reached();
    file.sync();
  }

  /** The commit: gives the finished record its name, durably, and hands it over. */
  RedoRecord publish() throws IOException {
    Path name = directory.resolve(RedoFormat.name(epoch));
    Files.move(file.path(), name);
    try {
      PageFile.syncDirectory(directory);
    } catch (IOException e) {
      Files.deleteIfExists(name);
      throw e;
    }
    file.close();
    file = null;
    RedoRecord record =
        new RedoRecord(
            PageFile.open(name),
            new long[] {epoch, previous},
            Arrays.copyOf(entryPage, entries),
            Arrays.copyOf(entryCheck, entries),
            entries,
            deviceState,
            written);
    entryPage = entryCheck = new int[0];
    return record;
  }

  /** Deletes the unfinished record; does nothing when there is none. */
  void discard() throws IOException {
    if (file != null) {
      PageFile part = file;
      file = null;
      part.close();
      Files.deleteIfExists(part.path());
    }
  }

  /** Bytes of the unfinished record so far. */
  long bytes() {
    return file == null ? 0 : at + slab.position();
  }

  private void checksum(int from, int to) {
    int position = slab.position();
    slab.limit(to).position(from);
    crc.update(slab);
    slab.limit(SLAB_BYTES).position(position);
  }

  private void flush() throws IOException {
    slab.flip();
    file.write(at, slab);
    at += slab.limit();
    slab.clear();
  }

  private void entry(int page, int check) {
    if (entries == entryPage.length) {
      int length = Math.max(64, entries + (entries >> 1));
      entryPage = Arrays.copyOf(entryPage, length);
      entryCheck = Arrays.copyOf(entryCheck, length);
    }
    entryPage[entries] = page;
    entryCheck[entries++] = check;
  }
}
