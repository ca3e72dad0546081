package org.understudy.daemon;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Rows of text whose columns line up; columns of numbers with units to the right. */
public final class Table {
  private final List<String[]> rows = new ArrayList<>();
  private final boolean[] right;

  /** Columns by title; a title that begins with {@code >} lines its column up to the right. */
  public Table(String... titles) {
    right = new boolean[titles.length];
    String[] shown = new String[titles.length];
    for (int i = 0; i < titles.length; i++) {
      right[i] = titles[i].startsWith(">");
      shown[i] = right[i] ? titles[i].substring(1) : titles[i];
    }
    rows.add(shown);
  }

  /** A row, one value a column; null shows as a dash. */
  public Table row(Object... values) {
    if (values.length != right.length) {
      throw new IllegalArgumentException(
          "%d values for %d columns".formatted(values.length, right.length));
    }
    String[] row = new String[values.length];
    for (int i = 0; i < values.length; i++) {
      row[i] = values[i] == null ? "-" : values[i].toString();
    }
    rows.add(row);
    return this;
  }

  /** {@code "512 B"}, {@code "3.4 MiB"}, {@code "120 GiB"}: three digits at least. */
  public static String bytes(long bytes) {
    String[] units = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = bytes;
    int unit = 0;
    while (value >= 1024 && unit < units.length - 1) {
      value /= 1024;
      unit++;
    }
    return String.format(
        Locale.ROOT, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  }

  /** {@code "3.4 ms"}, {@code "1.20 s"}, {@code "5 min 3 s"}. */
  public static String millis(double ms) {
    if (ms < 1000) {
      return String.format(Locale.ROOT, ms < 100 ? "%.1f ms" : "%.0f ms", ms);
    }
    if (ms < 60_000) {
      return String.format(Locale.ROOT, "%.2f s", ms / 1000);
    }
    long seconds = (long) (ms / 1000);
    return "%d min %d s".formatted(seconds / 60, seconds % 60);
  }

  /** The lines, without the last line's end. */
  @Override
  public String toString() {
    int[] width = new int[right.length];
    for (String[] row : rows) {
      for (int i = 0; i < row.length; i++) {
        width[i] = Math.max(width[i], row[i].length());
      }
    }
    StringBuilder text = new StringBuilder();
    for (String[] row : rows) {
      StringBuilder line = new StringBuilder();
      for (int i = 0; i < row.length; i++) {
        String pad = " ".repeat(width[i] - row[i].length());
        line.append(i == 0 ? "" : "  ").append(right[i] ? pad + row[i] : row[i] + pad);
      }
      text.append(text.isEmpty() ? "" : "\n").append(line.toString().stripTrailing());
    }
    return text.toString();
  }
}
