package org.understudy.guard;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Why a QEMU that has ended did so, asked of whoever manages it by a command line, such as {@code
 * virsh -c qemu:///system domstate --reason NAME}, which prints {@code shut off (destroyed)}.
 */
final class EndReason {
  private static final Pattern STATE_AND_REASON =
      Pattern.compile("^\\s*([a-z ]+?)\\s*\\(([^)]*)\\)\\s*$", Pattern.MULTILINE);

  private final List<String> command;
  private final long limitMs;

  /**
   * @param command empty: nobody to ask
   * @param limitMs longest time to keep asking, since the manager may notice after us
   */
  EndReason(List<String> command, long limitMs) {
    this.command = command;
    this.limitMs = limitMs;
  }

  /** Asks until there is an answer that says more than UNKNOWN, or the limit has passed. */
  GuestState ask() throws InterruptedException {
    long deadlineNs = System.nanoTime() + limitMs * 1_000_000;
    GuestState state = GuestState.UNKNOWN;
    while (!command.isEmpty() && state == GuestState.UNKNOWN && System.nanoTime() < deadlineNs) {
      try {
        state = meaning(run(deadlineNs));
      } catch (IOException unanswered) {
        // Asked again; UNKNOWN in the end.
      }
      if (state == GuestState.UNKNOWN) {
        Thread.sleep(100);
      }
    }
    return state;
  }

  /** What an answer means; UNKNOWN for any that is not about an ended guest. */
  static GuestState meaning(String answer) {
    Matcher found = STATE_AND_REASON.matcher(answer.toLowerCase(Locale.ROOT));
    if (!found.find()) {
      return GuestState.UNKNOWN;
    }
    String state = found.group(1);
    String reason = found.group(2);
    if (!state.equals("shut off") && !state.equals("crashed")) {
      return GuestState.UNKNOWN;
    }
    return switch (reason) {
      case "shutdown", "destroyed", "migrated", "saved", "from snapshot" ->
          GuestState.ENDED_ON_PURPOSE;
      case "crashed", "failed", "panicked" -> GuestState.CRASHED;
      default -> GuestState.UNKNOWN;
    };
  }

  private String run(long deadlineNs) throws IOException, InterruptedException {
    Path answer = Files.createTempFile("understudy-reason", "");
    try {
      ProcessBuilder builder = new ProcessBuilder(command);
      builder.environment().put("LC_ALL", "C");
      Process process =
          builder
              .redirectErrorStream(true)
              .redirectOutput(answer.toFile())
              .redirectInput(Path.of("/dev/null").toFile())
              .start();
      long leftMs = Math.max(100, (deadlineNs - System.nanoTime()) / 1_000_000);
      if (!process.waitFor(leftMs, TimeUnit.MILLISECONDS)) {
        process.destroyForcibly();
        throw new IOException("no answer from " + command);
      }
      return Files.readString(answer, StandardCharsets.UTF_8);
    } finally {
      Files.delete(answer);
    }
  }
}
