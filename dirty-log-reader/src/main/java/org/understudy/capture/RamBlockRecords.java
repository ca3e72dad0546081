package org.understudy.capture;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * QEMU's own records of its RAM blocks, read from its heap: the answer of a QEMU that does not
 * print host addresses, for blocks that no guest address leads to either (option ROMs, ACPI
 * tables).
 *
 * <p>QEMU's {@code RAMBlock} (include/exec/ramblock.h, the same order in 7.2 and 10.0) holds, in
 * this order: host address, COLO cache, offset, used length, longest length, a function, flags, and
 * the name in 256 bytes. A place in the heap counts as a block's record only if it holds the name
 * and, before it and next to each other, exactly the offset and both lengths that {@code info
 * ramblock} printed. Offsets are unique among blocks, so no two blocks can be mistaken for each
 * other even where their sizes are equal; a stale record of a block that was removed and made again
 * shows as two different addresses and is refused.
 */
final class RamBlockRecords {
  /** Bytes from the offset field to the name: offset, used, longest, function, flags. */
  private static final int OFFSET_TO_NAME = 36;

  /** Bytes from the host address to the offset field: host address, COLO cache. */
  private static final int HOST_TO_OFFSET = 16;

  private static final int WINDOW = 1 << 20;

  private final int pid;
  private final ProcessMaps maps;

  RamBlockRecords(int pid, ProcessMaps maps) {
    this.pid = pid;
    this.maps = maps;
  }

  /**
   * Finds the host address of each block.
   *
   * @return by position in {@code blocks}
   * @throws IOException with a sentence, if a block has no record, or records that disagree
   */
  long[] addresses(List<ListedBlock> blocks) throws IOException {
    List<Set<Long>> found = blocks.stream().<Set<Long>>map(b -> new HashSet<>()).toList();
    try (FileChannel memory =
        FileChannel.open(Path.of("/proc/" + pid + "/mem"), StandardOpenOption.READ)) {
      for (ProcessMaps.Area area : maps.areas()) {
        if (area.path().equals("[heap]")) {
          search(memory, area, blocks, found);
        }
      }
    }
    long[] addresses = new long[blocks.size()];
    for (int i = 0; i < addresses.length; i++) {
      Set<Long> candidates = found.get(i);
      if (candidates.size() != 1) {
        throw new IOException(
            "RAM block "
                + blocks.get(i).name()
                + " of "
                + blocks.get(i).totalBytes()
                + " bytes has "
                + candidates.size()
                + " possible addresses in process "
                + pid
                + ", expected 1");
      }
      addresses[i] = candidates.iterator().next();
    }
    return addresses;
  }

  private void search(
      FileChannel memory, ProcessMaps.Area area, List<ListedBlock> blocks, List<Set<Long>> found)
      throws IOException {
    int record = HOST_TO_OFFSET + OFFSET_TO_NAME + 256;
    ByteBuffer window = ByteBuffer.allocate(WINDOW + record).order(ByteOrder.LITTLE_ENDIAN);
    for (long at = area.start(); at < area.end(); at += WINDOW) {
      window.clear().limit((int) Math.min(window.capacity(), area.end() - at));
      while (window.hasRemaining()) {
        int n = memory.read(window, at + window.position());
        if (n <= 0) {
          break; // the heap shrank meanwhile
        }
      }
      int last = Math.min(WINDOW, window.position() - record);
      window.flip();
      for (int host = 0; host <= last; host += 8) {
        match(window, host, blocks, found);
      }
    }
  }

  private void match(ByteBuffer window, int host, List<ListedBlock> blocks, List<Set<Long>> found) {
    int offset = host + HOST_TO_OFFSET;
    long used = window.getLong(offset + 8);
    long longest = window.getLong(offset + 16);
    if (used <= 0 || longest < used) {
      return;
    }
    for (int i = 0; i < blocks.size(); i++) {
      ListedBlock block = blocks.get(i);
      if (block.totalBytes() == longest
          && block.usedBytes() == used
          && block.offset() == window.getLong(offset)
          && named(window, offset + OFFSET_TO_NAME, block.name())
          && maps.covers(window.getLong(host), longest)) {
        found.get(i).add(window.getLong(host));
      }
    }
  }

  private static boolean named(ByteBuffer window, int at, String name) {
    byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
    for (int i = 0; i < bytes.length; i++) {
      if (window.get(at + i) != bytes[i]) {
        return false;
      }
    }
    return window.get(at + bytes.length) == 0;
  }
}
