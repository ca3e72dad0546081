package org.understudy.medium;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.guest.Pages;
import org.understudy.linux.DiskSpace;
import org.understudy.tier.FreeSpace;
import org.understudy.tier.PageFile;
import org.understudy.tier.PageStore;

/**
 * The Medium tier: raw pages in slots of a page each, for NVMe. A place is a slot number. Room is
 * set aside an extent ahead, so that the slots lie together; where the file system cannot, or has
 * no whole extent left, the file grows page by page. It is never longer than the limit in force
 * when a slot was taken.
 */
public final class MediumFile implements PageStore {
  /** 64 MiB: one piece for most file systems, little to lose of a small disk. */
  private static final int EXTENT_SLOTS = 1 << 14;

  private static final Logger LOG = LoggerFactory.getLogger(MediumFile.class);

  private final PageFile file;
  private final FreeSpace slots = new FreeSpace();
  private final long sizeAtOpen;
  private volatile int limitSlots; // set by any thread
  private int reservedSlots;
  private boolean reserves = true;

  /** Opens or creates the file; nothing is in use until it is claimed. */
  public MediumFile(Path path) throws IOException {
    file = PageFile.open(path);
    sizeAtOpen = file.size();
  }

  @Override
  public long write(ByteBuffer content) throws IOException {
    int slot = slots.allocate(1, limitSlots);
    if (slot < 0) {
      return NO_ROOM;
    }
    if (slot >= reservedSlots && reserves) {
      reserve(slot);
    }
    int start = content.position();
    int limit = content.limit();
    content.limit(start + Pages.SIZE);
    try {
      file.write((long) slot << Pages.SHIFT, content);
    } catch (IOException e) {
      slots.free(slot, 1);
      throw e;
    } finally {
      content.limit(limit).position(start);
    }
    return slot;
  }

  private void reserve(int slot) {
    int end = Math.min(limitSlots, (slot / EXTENT_SLOTS + 1) * EXTENT_SLOTS);
    try {
      DiskSpace.reserve(
          file.path(),
          (long) reservedSlots << Pages.SHIFT,
          (long) (end - reservedSlots) << Pages.SHIFT);
      reservedSlots = end;
    } catch (IOException e) {
      // A disk that is really full says so at the write of a page.
      reserves = false;
      LOG.info("Medium grows page by page: {}", e.getMessage());
    }
  }

  @Override
  public void read(long place, ByteBuffer into) throws IOException {
    int limit = into.limit();
    into.limit(into.position() + Pages.SIZE);
    try {
      file.read(place << Pages.SHIFT, into);
    } finally {
      into.limit(limit);
    }
  }

  @Override
  public void claim(long place) throws IOException {
    if (place < 0 || (place + 1) << Pages.SHIFT > sizeAtOpen) {
      throw new IOException(
          "index names slot " + place + " of " + file.path() + ", " + sizeAtOpen + " bytes");
    }
    if (!slots.claim((int) place, 1)) {
      throw new IOException("index names slot " + place + " of " + file.path() + " twice");
    }
  }

  @Override
  public void free(long place) {
    slots.free((int) place, 1);
  }

  @Override
  public int bytes(long place) {
    return Pages.SIZE;
  }

  @Override
  public void limitBytes(long bytes) {
    limitSlots = (int) Math.min(Integer.MAX_VALUE, bytes >> Pages.SHIFT);
  }

  @Override
  public long usedBytes() {
    return slots.usedUnits() << Pages.SHIFT;
  }

  @Override
  public long fileBytes() {
    return (long) slots.top() << Pages.SHIFT;
  }

  @Override
  public void sync() throws IOException {
    file.sync();
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
