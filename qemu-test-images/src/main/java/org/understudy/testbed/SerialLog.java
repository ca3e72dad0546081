package org.understudy.testbed;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A guest's serial port as a file of lines, read while it grows. Only lines that are complete
 * count.
 */
public final class SerialLog {
  /** Lines by which a guest, or its kernel, says that its memory is not what it was. */
  public static final Pattern FAILED =
      Pattern.compile(
          "PROOF FAILED|REDIS FAILED|Kernel panic|Oops:|BUG:|segfault|general protection");

  private static final Pattern COUNTER =
      Pattern.compile("(?:proof (\\d+) ok .*|redis last=(\\d+) ok .*)");

  private final Path file;

  public SerialLog(Path file) {
    this.file = file;
  }

  public Path file() {
    return file;
  }

  /** All complete lines so far, without carriage returns; empty when the file is not there yet. */
  public List<String> lines() throws IOException {
    return linesFrom(0);
  }

  /**
   * The file's size in bytes: a place to read on from with {@link #linesFrom} or {@link #await}.
   */
  public long position() throws IOException {
    return Files.exists(file) ? Files.size(file) : 0;
  }

  /** The complete lines after byte {@code position}. */
  public List<String> linesFrom(long position) throws IOException {
    if (!Files.exists(file)) {
      return List.of();
    }
    byte[] bytes;
    try (var channel = Files.newByteChannel(file)) {
      channel.position(Math.min(position, channel.size()));
      var buffer = java.nio.ByteBuffer.allocate((int) (channel.size() - channel.position()));
      while (buffer.hasRemaining() && channel.read(buffer) >= 0) {
        // reads on until the size seen above
      }
      bytes = java.util.Arrays.copyOf(buffer.array(), buffer.position());
    }
    String text = new String(bytes, StandardCharsets.UTF_8);
    return text.substring(0, text.lastIndexOf('\n') + 1).replace("\r", "").lines().toList();
  }

  /** As {@link #await(Pattern, long, Duration)} from the beginning. */
  public Matcher await(String regex, Duration deadline)
      throws IOException, TimeoutException, InterruptedException {
    return await(Pattern.compile(regex), 0, deadline);
  }

  /**
   * Waits for a line after byte {@code position} in which {@code pattern} is found.
   *
   * @throws IllegalStateException the guest says that it failed, unless the pattern asks for that
   *     line
   * @throws TimeoutException no such line before the deadline; the message has the last lines
   */
  public Matcher await(Pattern pattern, long position, Duration deadline)
      throws IOException, TimeoutException, InterruptedException {
    long end = System.nanoTime() + deadline.toNanos();
    while (true) {
      List<String> lines = linesFrom(position);
      for (String line : lines) {
        Matcher matcher = pattern.matcher(line);
        if (matcher.find()) {
          return matcher;
        }
        if (FAILED.matcher(line).find()) {
          throw new IllegalStateException("the guest of " + file + " says: " + line);
        }
      }
      if (System.nanoTime() > end) {
        throw new TimeoutException(
            "no line \""
                + pattern
                + "\" in "
                + file
                + " within "
                + deadline.toMillis()
                + " ms; last lines: "
                + lines.subList(Math.max(0, lines.size() - 5), lines.size()));
      }
      Thread.sleep(10);
    }
  }

  /**
   * Waits until the guest's counter (proof's, or redis' last) is greater than {@code value} and
   * returns it.
   */
  public long awaitCounterAbove(long value, Duration deadline)
      throws IOException, TimeoutException, InterruptedException {
    return awaitNumber(COUNTER, value, deadline);
  }

  /**
   * Waits until the guest has completed {@code count} more passes over all its data than it has
   * now, the first of which may have begun earlier: with 2, everything has been compared after this
   * call. Fails if the guest does.
   */
  public void awaitPasses(int count, Duration deadline)
      throws IOException, TimeoutException, InterruptedException {
    Pattern passes = Pattern.compile("(?:proof \\d+ ok .*|redis last=\\d+ ok .*)pass=(\\d+)");
    long now = lastNumber(passes).orElse(0);
    awaitNumber(passes, now + count - 1, deadline);
  }

  /** The guest's last printed counter. */
  public OptionalLong lastCounter() throws IOException {
    return lastNumber(COUNTER);
  }

  /** The line by which the guest says that it failed, or null. */
  public String failure() throws IOException {
    return lines().stream().filter(line -> FAILED.matcher(line).find()).findFirst().orElse(null);
  }

  private long awaitNumber(Pattern pattern, long above, Duration deadline)
      throws IOException, TimeoutException, InterruptedException {
    long end = System.nanoTime() + deadline.toNanos();
    while (true) {
      String failure = failure();
      if (failure != null) {
        throw new IllegalStateException("the guest of " + file + " says: " + failure);
      }
      OptionalLong number = lastNumber(pattern);
      if (number.isPresent() && number.getAsLong() > above) {
        return number.getAsLong();
      }
      if (System.nanoTime() > end) {
        throw new TimeoutException(
            "\""
                + pattern
                + "\" stays at "
                + number
                + ", expected more than "
                + above
                + " within "
                + deadline.toMillis()
                + " ms in "
                + file);
      }
      Thread.sleep(10);
    }
  }

  private OptionalLong lastNumber(Pattern pattern) throws IOException {
    List<String> lines = lines();
    for (int i = lines.size() - 1; i >= 0; i--) {
      Matcher matcher = pattern.matcher(lines.get(i));
      if (matcher.find()) {
        for (int group = 1; group <= matcher.groupCount(); group++) {
          if (matcher.group(group) != null) {
            return OptionalLong.of(Long.parseLong(matcher.group(group)));
          }
        }
      }
    }
    return OptionalLong.empty();
  }
}
