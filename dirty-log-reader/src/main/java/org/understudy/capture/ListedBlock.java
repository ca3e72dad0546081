package org.understudy.capture;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.understudy.guest.Pages;

/**
 * A line of HMP {@code info ramblock}, as printed by QEMU 7.2 (without address) and since 9.0 (with
 * address and a read-only mark).
 *
 * @param name QEMU's idstr; empty for memory that no migration carries, such as what is left of an
 *     unplugged device
 * @param offset the block's place in QEMU's own numbering of RAM (ram_addr_t), not an address
 * @param usedBytes used length
 * @param totalBytes length mapped; more than used for resizable blocks such as ACPI tables
 * @param hostAddress address in QEMU's process, or 0 where QEMU does not print it
 */
record ListedBlock(String name, long offset, long usedBytes, long totalBytes, long hostAddress) {
  private static final Pattern LINE =
      Pattern.compile(
          "\\s*(.*?)\\s+(\\d+(?:\\.\\d+)? [KMG]iB)\\s+0x([0-9a-f]+) 0x([0-9a-f]+) 0x([0-9a-f]+)"
              + "(?:\\s+0x([0-9a-f]+)\\s+(ro|rw))?\\s*");

  /**
   * Reads the whole answer.
   *
   * @throws IOException if a line cannot be read, or a block's length is not a whole number of
   *     pages
   */
  static List<ListedBlock> parse(String answer) throws IOException {
    List<ListedBlock> blocks = new ArrayList<>();
    for (String line : answer.lines().toList()) {
      if (line.isBlank() || line.contains("Block Name")) {
        continue;
      }
      Matcher m = LINE.matcher(line);
      if (!m.matches()) {
        throw new IOException("cannot read this line of QEMU's RAM blocks: \"" + line + '"');
      }
      ListedBlock block =
          new ListedBlock(
              m.group(1),
              Long.parseUnsignedLong(m.group(3), 16),
              Long.parseUnsignedLong(m.group(4), 16),
              Long.parseUnsignedLong(m.group(5), 16),
              m.group(6) == null ? 0 : Long.parseUnsignedLong(m.group(6), 16));
      block.check(m.group(2));
      blocks.add(block);
    }
    if (blocks.isEmpty()) {
      throw new IOException("QEMU lists no RAM blocks: \"" + answer.strip() + '"');
    }
    return blocks;
  }

  private void check(String pageSize) throws IOException {
    if (usedBytes <= 0 || usedBytes % Pages.SIZE != 0 || totalBytes < usedBytes) {
      throw new IOException(
          "RAM block "
              + name
              + " uses "
              + usedBytes
              + " of "
              + totalBytes
              + " bytes, expected a positive multiple of "
              + Pages.SIZE
              + " (page size "
              + pageSize
              + ")");
    }
  }
}
