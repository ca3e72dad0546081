package org.understudy.guest;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The RAM blocks of a guest in a fixed order, numbering their pages 0, 1, 2, … across all blocks. A
 * page's identity is (block, offset); its <em>page number</em> is the dense int that stands for
 * that pair in bitmaps, indexes and on the page path. Both hosts use the same layout; host
 * addresses are not part of it.
 */
public final class GuestLayout {
  private final List<RamBlock> blocks;
  private final int[] firstPage; // by block, and the total as a last entry

  /** Blocks in the order that QEMU lists them; names are unique. */
  public GuestLayout(List<RamBlock> blocks) {
    this.blocks = List.copyOf(blocks);
    if (blocks.isEmpty()) {
      throw new IllegalArgumentException("a guest layout without RAM blocks");
    }
    firstPage = new int[blocks.size() + 1];
    Set<String> names = new HashSet<>();
    for (int i = 0; i < blocks.size(); i++) {
      if (!names.add(blocks.get(i).name())) {
        throw new IllegalArgumentException(
            "RAM block " + blocks.get(i).name() + " twice in a guest layout");
      }
      firstPage[i + 1] = Math.addExact(firstPage[i], blocks.get(i).pages());
    }
  }

  /** The blocks, in order. */
  public List<RamBlock> blocks() {
    return blocks;
  }

  /** Number of pages of all blocks together. */
  public int pages() {
    return firstPage[blocks.size()];
  }

  /** Bytes of all blocks together. */
  public long bytes() {
    return (long) pages() << Pages.SHIFT;
  }

  /** Page number of the first page of block number {@code block}. */
  public int firstPage(int block) {
    return firstPage[block];
  }

  /** Number of the block that page number {@code page} lies in. */
  public int blockOf(int page) {
    if (page < 0 || page >= pages()) {
      throw new IndexOutOfBoundsException(
          "page " + page + " of a layout with " + pages() + " pages");
    }
    int found = Arrays.binarySearch(firstPage, page);
    return found >= 0 ? found : -found - 2;
  }

  /** Offset in bytes of page number {@code page} inside its block. */
  public long offsetOf(int page) {
    return (long) (page - firstPage[blockOf(page)]) << Pages.SHIFT;
  }

  /**
   * Page number of the page at {@code offset} bytes (rounded down to a page) in block number {@code
   * block}.
   */
  public int pageAt(int block, long offset) {
    if (offset < 0 || offset >= blocks.get(block).bytes()) {
      throw new IndexOutOfBoundsException(
          "offset "
              + offset
              + " in RAM block "
              + blocks.get(block).name()
              + " of "
              + blocks.get(block).bytes()
              + " bytes");
    }
    return firstPage[block] + (int) (offset >> Pages.SHIFT);
  }

  /** Number of the block called {@code name}, or -1. */
  public int blockNamed(String name) {
    for (int i = 0; i < blocks.size(); i++) {
      if (blocks.get(i).name().equals(name)) {
        return i;
      }
    }
    return -1;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof GuestLayout layout && layout.blocks.equals(blocks);
  }

  @Override
  public int hashCode() {
    return blocks.hashCode();
  }

  @Override
  public String toString() {
    return blocks.toString();
  }
}
