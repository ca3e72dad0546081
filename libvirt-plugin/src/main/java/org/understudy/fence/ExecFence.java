package org.understudy.fence;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/**
 * Fences by a script: {@code SCRIPT off DOMAIN-NAME DOMAIN-UUID PEER-NAME} must exit with 0, and
 * then {@code SCRIPT status DOMAIN-NAME DOMAIN-UUID PEER-NAME} must exit with 0 and print {@code
 * off} as its last line. Each call has the whole timeout; one that takes longer is killed with its
 * children.
 *
 * @param script an executable file
 */
public record ExecFence(Path script, Duration timeout) implements Fence {
  private static final int LINE_SHOWN = 200;

  @Override
  public FenceResult fence(FenceTarget target) throws InterruptedException {
    Outcome off = run("off", target);
    if (!off.succeeded()) {
      return new FenceResult.Failed(off.sentence());
    }
    Outcome status = run("status", target);
    if (!status.succeeded()) {
      return new FenceResult.Failed(status.sentence());
    }
    if (!status.lastLine().equals("off")) {
      return new FenceResult.Failed(
          "fence script '%s' printed '%s', expected 'off'"
              .formatted(status.command(), status.lastLine()));
    }
    return new FenceResult.Fenced("fence script '%s' printed 'off'".formatted(status.command()));
  }

  @Override
  public String description() {
    return "exec " + script;
  }

  private Outcome run(String action, FenceTarget target) throws InterruptedException {
    String command =
        "%s %s %s %s %s"
            .formatted(script, action, target.domainName(), target.domain(), target.peer());
    Process process;
    try {
      process =
          new ProcessBuilder(
                  script.toString(),
                  action,
                  target.domainName(),
                  target.domain().toString(),
                  target.peer())
              .redirectErrorStream(true)
              .start();
      process.getOutputStream().close();
    } catch (IOException e) {
      return new Outcome(command, "could not be started: " + e.getMessage(), "");
    }
    LastLine last = new LastLine(process);
    try {
      if (!process.waitFor(timeout.toMillis(), TimeUnit.MILLISECONDS)) {
        kill(process);
        return new Outcome(
            command, "did not end within %d ms".formatted(timeout.toMillis()), last.await());
      }
      int exit = process.exitValue();
      return new Outcome(command, exit == 0 ? "" : "ended with exit code " + exit, last.await());
    } finally {
      kill(process);
    }
  }

  private static void kill(Process process) {
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
  }

  /** How a call ended; {@code failure} is empty if it went well. */
  private record Outcome(String command, String failure, String lastLine) {
    boolean succeeded() {
      return failure.isEmpty();
    }

    String sentence() {
      return "fence script '%s' %s%s"
          .formatted(
              command,
              failure,
              lastLine.isEmpty() ? " and printed nothing" : "; its last line: " + lastLine);
    }
  }

  /** Follows a script's output and keeps its last line that is not blank. */
  private static final class LastLine {
    /** A child that the script left behind may hold the output open for ever. */
    private static final long AFTER_EXIT_MS = 500;

    private final Thread reader;
    private volatile String line = "";

    LastLine(Process process) {
      reader =
          new Thread(
              () -> {
                try (BufferedReader out = process.inputReader(StandardCharsets.UTF_8)) {
                  out.lines().filter(text -> !text.isBlank()).forEach(this::keep);
                } catch (IOException | UncheckedIOException e) {
                  // The script was killed; what it said until then counts.
                  return;
                }
              },
              "fence-output");
      reader.setDaemon(true);
      reader.start();
    }

    String await() throws InterruptedException {
      reader.join(AFTER_EXIT_MS);
      return line;
    }

    private void keep(String text) {
      String stripped = text.strip();
      line = stripped.substring(0, Math.min(LINE_SHOWN, stripped.length()));
    }
  }
}
