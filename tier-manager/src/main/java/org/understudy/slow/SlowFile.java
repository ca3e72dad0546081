package org.understudy.slow;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import net.jpountz.lz4.LZ4Compressor;
import net.jpountz.lz4.LZ4Exception;
import net.jpountz.lz4.LZ4Factory;
import net.jpountz.lz4.LZ4SafeDecompressor;
import org.understudy.guest.Pages;
import org.understudy.tier.FreeSpace;
import org.understudy.tier.PageFile;
import org.understudy.tier.PageStore;

/**
 * The Slow tier: pages as raw LZ4 blocks, each in a run of 256-byte units. A page that LZ4 does not
 * shrink by a unit is stored as it is. A place is {@code unit << 13 | length in bytes}; length 4096
 * means a raw page.
 */
public final class SlowFile implements PageStore {
  /** Bytes in a unit. */
  public static final int UNIT = 256;

  private static final int LENGTH_BITS = 13;
  private static final int LENGTH_MASK = (1 << LENGTH_BITS) - 1;
  private static final int LONGEST = Pages.SIZE - UNIT; // longest compressed page worth keeping

  private final PageFile file;
  private final FreeSpace units = new FreeSpace();
  private final long sizeAtOpen;
  private final LZ4Compressor compressor = LZ4Factory.fastestInstance().fastCompressor();
  private final LZ4SafeDecompressor decompressor = LZ4Factory.fastestInstance().safeDecompressor();
  private final ByteBuffer packed =
      ByteBuffer.allocateDirect(compressor.maxCompressedLength(Pages.SIZE));
  // Readers are several long-lived threads, each with a buffer of its own.
  private final ThreadLocal<ByteBuffer> readBuffer =
      ThreadLocal.withInitial(() -> ByteBuffer.allocateDirect(Pages.SIZE));
  private volatile int limitUnits = Integer.MAX_VALUE; // set by any thread

  /** Opens or creates the file; nothing is in use until it is claimed. */
  public SlowFile(Path path) throws IOException {
    file = PageFile.open(path);
    sizeAtOpen = file.size();
  }

  @Override
  public long write(ByteBuffer content) throws IOException {
    int start = content.position();
    int limit = content.limit();
    int length = compressor.compress(content, start, Pages.SIZE, packed, 0, packed.capacity());
    boolean raw = length > LONGEST;
    if (raw) {
      length = Pages.SIZE;
    }
    int unit = units.allocate(unitsOf(length), limitUnits);
    if (unit < 0) {
      return NO_ROOM;
    }
    try {
      if (raw) {
        content.limit(start + Pages.SIZE);
        file.write((long) unit * UNIT, content);
      } else {
        file.write((long) unit * UNIT, packed.limit(length).position(0));
      }
    } catch (IOException e) {
      units.free(unit, unitsOf(length));
      throw e;
    } finally {
      content.limit(limit).position(start);
      packed.clear();
    }
    return (long) unit << LENGTH_BITS | length;
  }

  @Override
  public void read(long place, ByteBuffer into) throws IOException {
    int start = into.position();
    int limit = into.limit();
    int length = lengthOf(place);
    if (length == Pages.SIZE) {
      into.limit(start + Pages.SIZE);
      try {
        file.read(offsetOf(place), into);
      } finally {
        into.limit(limit);
      }
      return;
    }
    ByteBuffer block = readBuffer.get().clear().limit(length);
    file.read(offsetOf(place), block);
    int found;
    try {
      found = decompressor.decompress(block, 0, length, into, start, Pages.SIZE);
    } catch (LZ4Exception e) {
      throw new IOException(
          "no LZ4 block of "
              + length
              + " bytes at offset "
              + offsetOf(place)
              + " of "
              + file.path(),
          e);
    }
    if (found != Pages.SIZE) {
      throw new IOException(
          "LZ4 block at offset "
              + offsetOf(place)
              + " of "
              + file.path()
              + " holds "
              + found
              + " bytes, expected "
              + Pages.SIZE);
    }
    into.position(start + Pages.SIZE);
  }

  @Override
  public void claim(long place) throws IOException {
    int length = lengthOf(place);
    if (length < 1 || length > Pages.SIZE || offsetOf(place) + length > sizeAtOpen) {
      throw new IOException(
          "index names "
              + length
              + " bytes at offset "
              + offsetOf(place)
              + " of "
              + file.path()
              + ", "
              + sizeAtOpen
              + " bytes");
    }
    if (!units.claim((int) (place >>> LENGTH_BITS), unitsOf(length))) {
      throw new IOException(
          "index names offset " + offsetOf(place) + " of " + file.path() + " twice");
    }
  }

  @Override
  public void free(long place) {
    units.free((int) (place >>> LENGTH_BITS), unitsOf(lengthOf(place)));
  }

  @Override
  public int bytes(long place) {
    return unitsOf(lengthOf(place)) * UNIT;
  }

  @Override
  public void limitBytes(long bytes) {
    limitUnits = (int) Math.min(Integer.MAX_VALUE, bytes / UNIT);
  }

  @Override
  public long usedBytes() {
    return units.usedUnits() * UNIT;
  }

  @Override
  public long fileBytes() {
    return (long) units.top() * UNIT;
  }

  @Override
  public void sync() throws IOException {
    file.sync();
  }

  @Override
  public void close() throws IOException {
    file.close();
  }

  private static int unitsOf(int length) {
    return (length + UNIT - 1) / UNIT;
  }

  private static int lengthOf(long place) {
    return (int) place & LENGTH_MASK;
  }

  private static long offsetOf(long place) {
    return (place >>> LENGTH_BITS) * UNIT;
  }
}
