package org.understudy.tier;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.understudy.guest.Pages;

/**
 * How much a tier may hold: a size, or a share of the guest's non-zero pages. A hard limit.
 *
 * @param bytes size in bytes, or -1 when it is a share
 * @param percent share of the non-zero pages of the committed epoch, 0 to 100; unused for a size
 */
public record TierBudget(long bytes, double percent) {
  private static final Pattern TEXT =
      Pattern.compile(
          "(\\d{1,15}(?:\\.\\d{1,6})?)\\s*(%|B|[KMGT](?:i?B)?|)", Pattern.CASE_INSENSITIVE);

  /** Checks the ranges. */
  public TierBudget {
    if (bytes < -1 || !(percent >= 0 && percent <= 100)) {
      throw new IllegalArgumentException("tier budget of " + bytes + " bytes, " + percent + " %");
    }
  }

  /** A budget of so many bytes. */
  public static TierBudget ofBytes(long bytes) {
    return new TierBudget(bytes, 0);
  }

  /** A budget of so many percent of the guest's non-zero pages. */
  public static TierBudget ofPercent(double percent) {
    return new TierBudget(-1, percent);
  }

  /**
   * Reads {@code 25%}, {@code 256M}, {@code 1.5GiB}, {@code 0} or plain bytes; K, M, G and T are
   * powers of 1024.
   *
   * @throws IllegalArgumentException with a sentence when it is something else
   */
  public static TierBudget parse(String text) {
    Matcher matcher = TEXT.matcher(text.strip());
    if (!matcher.matches()) {
      throw new IllegalArgumentException(
          "budget \"" + text + "\", expected a share such as 25% or a size such as 256M");
    }
    double number = Double.parseDouble(matcher.group(1));
    String unit = matcher.group(2).toUpperCase(Locale.ROOT);
    if (unit.equals("%")) {
      if (number > 100) {
        throw new IllegalArgumentException("budget \"" + text + "\", expected at most 100%");
      }
      return ofPercent(number);
    }
    int power = unit.isEmpty() ? 0 : "BKMGT".indexOf(unit.charAt(0));
    double bytes = number * Math.pow(1024, power);
    if (bytes > 1L << 50) {
      throw new IllegalArgumentException("budget \"" + text + "\", expected at most 1024T");
    }
    return ofBytes((long) bytes);
  }

  /** Pages allowed when {@code nonZeroPages} pages of the guest are not zero. */
  public int pages(int nonZeroPages) {
    if (bytes >= 0) {
      return (int) Math.min(Integer.MAX_VALUE, bytes >> Pages.SHIFT);
    }
    return (int) (nonZeroPages * (percent / 100));
  }

  @Override
  public String toString() {
    if (bytes < 0) {
      return String.format(Locale.ROOT, percent == Math.rint(percent) ? "%.0f%%" : "%s%%", percent);
    }
    String[] units = {"", "K", "M", "G", "T"};
    int unit = 0;
    long number = bytes;
    while (unit < 4 && number > 0 && number % 1024 == 0) {
      number /= 1024;
      unit++;
    }
    return number + units[unit];
  }
}
