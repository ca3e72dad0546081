package org.understudy.daemon;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** How much of something: a percentage of a whole, or a size. */
public sealed interface Budget {
  /** A share of the whole, above 0 and at most 100. */
  record Percent(double percent) implements Budget {
    @Override
    public long bytesOf(long wholeBytes) {
      return (long) (wholeBytes * percent / 100);
    }

    @Override
    public String toString() {
      return percent == Math.rint(percent)
          ? "%d%%".formatted((long) percent)
          : String.format(Locale.ROOT, "%s%%", percent);
    }
  }

  /** A size, at least one byte. */
  record Size(long bytes) implements Budget {
    @Override
    public long bytesOf(long wholeBytes) {
      return Math.min(bytes, wholeBytes);
    }

    @Override
    public String toString() {
      return bytes % (1L << 30) == 0 ? (bytes >> 30) + "GiB" : (bytes >> 20) + "MiB";
    }
  }

  /** What it comes to for a whole of {@code wholeBytes}, never more than that. */
  long bytesOf(long wholeBytes);

  /**
   * Reads {@code "25%"}, {@code "512MiB"} or {@code "2GiB"}.
   *
   * @throws IllegalArgumentException with a sentence if the text is none of these
   */
  static Budget parse(String text) {
    Matcher match = Pattern.compile("(\\d{1,6}(?:\\.\\d{1,3})?)(%|MiB|GiB)").matcher(text.strip());
    if (match.matches()) {
      double number = Double.parseDouble(match.group(1));
      boolean whole = number == Math.rint(number);
      if (match.group(2).equals("%") && number > 0 && number <= 100) {
        return new Percent(number);
      }
      if (!match.group(2).equals("%") && number > 0 && whole) {
        return new Size((long) number << (match.group(2).equals("GiB") ? 30 : 20));
      }
    }
    throw new IllegalArgumentException(
        "'%s' is no share, expected a percentage as 25%% (above 0, at most 100) or a size as 512MiB or 2GiB"
            .formatted(text));
  }
}
