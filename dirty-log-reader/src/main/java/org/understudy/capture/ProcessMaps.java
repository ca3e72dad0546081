package org.understudy.capture;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The mappings of a process, as {@code /proc/PID/maps} lists them: rising and without overlap.
 *
 * @param areas the mappings
 */
record ProcessMaps(List<Area> areas) {

  /**
   * One mapping.
   *
   * @param start first address
   * @param end address after the last
   * @param access as printed: {@code rw-p}
   * @param path file, or {@code [heap]}, or empty
   */
  record Area(long start, long end, String access, String path) {
    boolean readableAndWritable() {
      return access.startsWith("rw");
    }
  }

  static ProcessMaps of(int pid) throws IOException {
    List<Area> areas = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/maps"))) {
      String[] fields = line.split(" +", 6);
      int dash = fields[0].indexOf('-');
      long start = Long.parseUnsignedLong(fields[0].substring(0, dash), 16);
      if (start < 0) {
        continue; // [vsyscall], in the kernel's half
      }
      long end = Long.parseUnsignedLong(fields[0].substring(dash + 1), 16);
      areas.add(new Area(start, end, fields[1], fields.length > 5 ? fields[5] : ""));
    }
    return new ProcessMaps(areas);
  }

  /** Whether all of {@code [start, start + bytes)} is mapped readable and writable. */
  boolean covers(long start, long bytes) {
    long at = start;
    for (Area area : areas) {
      if (at >= area.start && at < area.end) {
        if (!area.readableAndWritable()) {
          return false;
        }
        at = area.end;
        if (at >= start + bytes) {
          return true;
        }
      }
    }
    return false;
  }
}
