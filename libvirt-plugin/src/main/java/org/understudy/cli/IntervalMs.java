package org.understudy.cli;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** {@code 1s}, {@code 0.5s} or {@code 200ms} as whole milliseconds. */
final class IntervalMs implements ITypeConverter<Integer> {
  private static final Pattern TIME = Pattern.compile("(\\d{1,7}(?:\\.\\d{1,3})?)(ms|s)");

  @Override
  public Integer convert(String text) {
    Matcher match = TIME.matcher(text);
    if (match.matches()) {
      double ms = Double.parseDouble(match.group(1)) * (match.group(2).equals("s") ? 1000 : 1);
      if (ms >= 1 && ms <= 3_600_000 && ms == Math.rint(ms)) {
        return (int) ms;
      }
    }
    throw new TypeConversionException(
        "'%s' is no interval, expected as 1s or 200ms, at most 3600s".formatted(text));
  }
}
