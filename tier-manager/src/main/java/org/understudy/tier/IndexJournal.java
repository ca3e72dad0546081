package org.understudy.tier;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.RamBlock;

/**
 * The durable index: file {@code index}, the guest's layout followed by deltas, each the pages
 * whose location changed and the device state of the epoch then folded. What follows the last whole
 * delta is an interrupted write and is cut off. When the deltas have outgrown what they describe,
 * the whole index is written to a new file, which replaces the old one. Little-endian.
 *
 * <pre>
 * header   long MAGIC, int bytes of what follows, int CRC32C of it;
 *          int blocks, per block: long bytes, short length of name, name
 * delta    int DELTA, int entries, int bytes of device state, int 0, long epoch,
 *          int 0, int CRC32C of the 28 bytes before;
 *          entries: int page, int CRC32C of the content, long location; device state;
 *          int CRC32C of entries and device state
 * </pre>
 */
final class IndexJournal implements Closeable {
  static final String NAME = "index";
  private static final long MAGIC = 0x3130_5844_4e49_4e55L; // "UNINDX01"
  private static final int DELTA = 0x4154_4c44; // "DLTA"
  private static final int DELTA_HEADER = 32;
  private static final int ENTRY_BYTES = 16;
  private static final int MAX_HEADER_BYTES = 1 << 20;
  private static final long SLACK_BYTES = 8 << 20; // of deltas, before the index is rewritten

  /** Gives the entry of a page while a delta is written. */
  interface Entries {
    /** Appends page, check and location of pages from {@code page} on; returns the next page. */
    int put(int page, PageSet of, ByteBuffer into);
  }

  private final Path directory;
  private final GuestLayout layout;
  private PageFile file;
  private long end;
  private boolean tornTail; // an append failed: bytes after end are not a delta
  private long wholeBytes; // bytes of header and first delta
  private long epoch;
  private byte[] deviceState = {};
  private final ByteBuffer slab = buffer(64 << 10);
  private final CRC32C crc = new CRC32C();

  private IndexJournal(Path directory, GuestLayout layout, PageFile file, long end) {
    this.directory = directory;
    this.layout = layout;
    this.file = file;
    this.end = end;
    wholeBytes = end;
  }

  /** Writes the index of a guest of zero pages, durably. */
  static IndexJournal create(Path directory, GuestLayout layout) throws IOException {
    Path path = directory.resolve(NAME);
    if (Files.exists(path)) {
      throw new IOException(directory + " already holds a guest's image");
    }
    Path fresh = directory.resolve(NAME + ".new");
    Files.deleteIfExists(fresh);
    try (PageFile file = PageFile.open(fresh)) {
      file.write(0, header(layout));
      file.sync();
    }
    Files.move(fresh, path);
    PageFile.syncDirectory(directory);
    return open(directory);
  }

  /** Opens the index of a directory, positioned before its deltas. */
  static IndexJournal open(Path directory) throws IOException {
    PageFile file = PageFile.open(directory.resolve(NAME));
    try {
      ByteBuffer head = buffer(16);
      file.read(0, head);
      head.flip();
      long magic = head.getLong();
      int bytes = head.getInt();
      if (magic != MAGIC || bytes < 4 || bytes > MAX_HEADER_BYTES) {
        throw new IOException(file.path() + " is not an index");
      }
      ByteBuffer body = buffer(bytes);
      file.read(16, body);
      CRC32C check = new CRC32C();
      check.update(body.flip());
      if ((int) check.getValue() != head.getInt()) {
        throw new IOException(file.path() + " is damaged: CRC32C of the header");
      }
      body.rewind();
      List<RamBlock> blocks = new ArrayList<>();
      for (int count = body.getInt(); count > 0; count--) {
        long length = body.getLong();
        byte[] name = new byte[body.getShort()];
        body.get(name);
        blocks.add(new RamBlock(new String(name, StandardCharsets.UTF_8), length));
      }
      return new IndexJournal(directory, new GuestLayout(blocks), file, 16 + bytes);
    } catch (IOException | RuntimeException e) {
      file.close();
      throw e;
    }
  }

  GuestLayout layout() {
    return layout;
  }

  /** Epoch of the last whole delta, 0 before the first. */
  long epoch() {
    return epoch;
  }

  byte[] deviceState() {
    return deviceState;
  }

  long bytes() {
    return end;
  }

  /** Reads all deltas into an index that knows only zero pages, and cuts off a torn one. */
  void load(PageIndex into) throws IOException {
    boolean first = true;
    while (loadDelta(into)) {
      if (first) {
        wholeBytes = end;
        first = false;
      }
    }
    if (file.size() > end) {
      checkTorn();
      file.truncate(end);
      file.sync();
    }
  }

  /** A torn delta is the last thing in the file; one with something behind it is damage. */
  private void checkTorn() throws IOException {
    if (isDeltaHeader() && end + deltaBytes() < file.size()) {
      throw new IOException(
          file.path() + " is damaged: CRC32C of the " + deltaBytes() + " bytes at offset " + end);
    }
  }

  private boolean loadDelta(PageIndex into) throws IOException {
    if (!isWholeDelta(into.pages)) {
      return false;
    }
    slab.clear().limit(DELTA_HEADER);
    file.read(end, slab);
    int entries = slab.getInt(4);
    int stateBytes = slab.getInt(8);
    epoch = slab.getLong(16);
    long at = end + DELTA_HEADER;
    for (int left = entries; left > 0; ) {
      slab.clear().limit((int) Math.min(slab.capacity(), (long) left * ENTRY_BYTES));
      file.read(at, slab);
      slab.flip();
      at += slab.limit();
      left -= slab.limit() / ENTRY_BYTES;
      while (slab.hasRemaining()) {
        int page = slab.getInt();
        int check = slab.getInt();
        long location = slab.getLong();
        if (page < 0 || page >= into.pages) {
          throw new IOException(file.path() + " names page " + page + " of " + into.pages);
        }
        into.set(page, location, check);
      }
    }
    deviceState = new byte[stateBytes];
    file.read(at, ByteBuffer.wrap(deviceState));
    end = at + stateBytes + 4;
    return true;
  }

  /** Whether {@code end} is followed by the header of a delta, which then is in the slab. */
  private boolean isDeltaHeader() throws IOException {
    if (file.size() - end < DELTA_HEADER) {
      return false;
    }
    slab.clear().limit(DELTA_HEADER);
    file.read(end, slab);
    crc.reset();
    crc.update(slab.position(0).limit(DELTA_HEADER - 4));
    slab.clear();
    int stateBytes = slab.getInt(8);
    return slab.getInt(0) == DELTA
        && slab.getInt(DELTA_HEADER - 4) == (int) crc.getValue()
        && slab.getInt(4) >= 0
        && stateBytes >= 0
        && stateBytes <= RedoFormat.MAX_STATE_BYTES;
  }

  private long deltaBytes() {
    return DELTA_HEADER + (long) slab.getInt(4) * ENTRY_BYTES + slab.getInt(8) + 4;
  }

  /** Whether a delta with matching checksums begins at {@code end}. */
  private boolean isWholeDelta(int pages) throws IOException {
    if (!isDeltaHeader() || end + deltaBytes() > file.size() || slab.getInt(4) > pages) {
      return false;
    }
    long body = deltaBytes() - DELTA_HEADER - 4;
    crc.reset();
    long at = end + DELTA_HEADER;
    for (long left = body; left > 0; ) {
      slab.clear().limit((int) Math.min(slab.capacity(), left));
      file.read(at, slab);
      crc.update(slab.flip());
      at += slab.limit();
      left -= slab.limit();
    }
    slab.clear().limit(4);
    file.read(at, slab);
    return slab.getInt(0) == (int) crc.getValue();
  }

  /**
   * Makes the pages' locations durable.
   *
   * @param pages the pages changed since the last call
   * @param nonZero all pages that have a location, for when the whole index is written anew
   */
  void append(PageSet pages, PageSet nonZero, Entries source, long foldedEpoch, byte[] state)
      throws IOException {
    long grown = end - wholeBytes;
    if (grown > SLACK_BYTES + 2 * wholeBytes) {
      rewrite(nonZero, source, foldedEpoch, state);
    } else {
      if (tornTail) {
        file.truncate(end);
      }
      tornTail = true;
      long to = writeDelta(file, end, pages, source, foldedEpoch, state);
      file.sync();
      end = to;
      tornTail = false;
    }
    epoch = foldedEpoch;
    deviceState = state;
  }

  private void rewrite(PageSet nonZero, Entries source, long foldedEpoch, byte[] state)
      throws IOException {
    Path fresh = directory.resolve(NAME + ".new");
    Files.deleteIfExists(fresh);
    long to;
    try (PageFile whole = PageFile.open(fresh)) {
      ByteBuffer header = header(layout);
      long at = header.remaining();
      whole.write(0, header);
      to = writeDelta(whole, at, nonZero, source, foldedEpoch, state);
      whole.sync();
    }
    Files.move(
        fresh,
        directory.resolve(NAME),
        StandardCopyOption.REPLACE_EXISTING,
        StandardCopyOption.ATOMIC_MOVE);
    PageFile.syncDirectory(directory);
    file.close();
    file = PageFile.open(directory.resolve(NAME));
    end = wholeBytes = to;
  }

  private long writeDelta(
      PageFile into, long at, PageSet pages, Entries source, long foldedEpoch, byte[] state)
      throws IOException {
    slab.clear();
    slab.putInt(DELTA).putInt(pages.count()).putInt(state.length).putInt(0);
    slab.putLong(foldedEpoch).putInt(0);
    crc.reset();
    crc.update(slab.flip());
    slab.limit(slab.capacity()).putInt((int) crc.getValue());
    into.write(at, slab.flip());
    at += DELTA_HEADER;
    crc.reset();
    for (int page = pages.next(0); page >= 0; ) {
      slab.clear();
      page = source.put(page, pages, slab);
      crc.update(slab.flip());
      into.write(at, slab.rewind());
      at += slab.limit();
    }
    crc.update(state);
    into.write(at, ByteBuffer.wrap(state));
    slab.clear();
    slab.putInt((int) crc.getValue());
    into.write(at + state.length, slab.flip());
    return at + state.length + 4;
  }

  private static ByteBuffer header(GuestLayout layout) {
    ByteBuffer header = buffer(MAX_HEADER_BYTES).position(16);
    header.putInt(layout.blocks().size());
    for (RamBlock block : layout.blocks()) {
      byte[] name = block.name().getBytes(StandardCharsets.UTF_8);
      header.putLong(block.bytes()).putShort((short) name.length).put(name);
    }
    header.flip();
    CRC32C check = new CRC32C();
    check.update(header.duplicate().position(16));
    header.putLong(0, MAGIC).putInt(8, header.limit() - 16).putInt(12, (int) check.getValue());
    return header;
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
