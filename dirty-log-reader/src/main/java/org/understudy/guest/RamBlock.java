package org.understudy.guest;

/**
 * One of QEMU's RAM blocks: main memory, a ROM, video memory, ACPI tables. A block is not a stretch
 * of guest-physical memory.
 *
 * @param name QEMU's idstr, such as {@code pc.ram} or {@code 0000:00:02.0/virtio-net-pci.rom}, 1 to
 *     255 bytes
 * @param bytes used length in bytes, a positive multiple of {@link Pages#SIZE}
 */
public record RamBlock(String name, long bytes) {
  /** Checks the name's and the block's length. */
  public RamBlock {
    int nameBytes = name.getBytes(java.nio.charset.StandardCharsets.UTF_8).length;
    if (nameBytes < 1 || nameBytes > 255) {
      throw new IllegalArgumentException(
          "RAM block name of " + nameBytes + " bytes, expected 1 to 255");
    }
    if (bytes <= 0 || bytes % Pages.SIZE != 0) {
      throw new IllegalArgumentException(
          "RAM block "
              + name
              + " of "
              + bytes
              + " bytes, expected a positive multiple of "
              + Pages.SIZE);
    }
  }

  /** Number of pages. */
  public int pages() {
    return Math.toIntExact(bytes >> Pages.SHIFT);
  }
}
