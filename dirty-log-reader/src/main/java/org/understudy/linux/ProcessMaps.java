package org.understudy.linux;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The mappings of a process at one moment, from /proc/PID/maps or /proc/PID/smaps. */
public final class ProcessMaps {
  /**
   * One mapping.
   *
   * @param start first address
   * @param end address after the last
   * @param permissions four letters such as {@code rw-p}
   * @param inode inode of the file behind it, 0 for anonymous memory
   * @param path path of the file, a name in brackets, or empty
   * @param hugetlb whether its pages are hugetlbfs pages; known only from {@link #withFlags}
   */
  public record Mapping(
      long start, long end, String permissions, long inode, String path, boolean hugetlb) {
    /** Whether code may run there. */
    public boolean executable() {
      return permissions.charAt(2) == 'x';
    }

    /** Whether the process reads there. */
    public boolean readable() {
      return permissions.charAt(0) == 'r';
    }
  }

  private ProcessMaps() {}

  /** All mappings in the order of addresses, {@code hugetlb} false throughout. */
  public static List<Mapping> of(int pid) throws IOException {
    return parse(
        Files.readAllLines(Path.of("/proc/" + pid + "/maps"), StandardCharsets.ISO_8859_1));
  }

  /** All mappings, with what only smaps tells; the kernel walks all page tables for it. */
  public static List<Mapping> withFlags(int pid) throws IOException {
    return parse(
        Files.readAllLines(Path.of("/proc/" + pid + "/smaps"), StandardCharsets.ISO_8859_1));
  }

  /** Parses the lines of either file. */
  static List<Mapping> parse(List<String> lines) {
    List<Mapping> mappings = new ArrayList<>();
    for (String line : lines) {
      if (line.startsWith("VmFlags:")) {
        Mapping m = mappings.remove(mappings.size() - 1);
        boolean hugetlb = (line + " ").contains(" ht ");
        mappings.add(new Mapping(m.start, m.end, m.permissions, m.inode, m.path, hugetlb));
      } else if (isHeader(line)) {
        String[] fields = line.split(" +", 6);
        int dash = fields[0].indexOf('-');
        mappings.add(
            new Mapping(
                Long.parseUnsignedLong(fields[0].substring(0, dash), 16),
                Long.parseUnsignedLong(fields[0].substring(dash + 1), 16),
                fields[1],
                Long.parseLong(fields[4]),
                fields.length > 5 ? fields[5] : "",
                false));
      }
    }
    return mappings;
  }

  private static boolean isHeader(String line) {
    int dash = line.indexOf('-');
    int space = line.indexOf(' ');
    return dash > 0 && dash < space && line.charAt(space - 1) != ':';
  }
}
