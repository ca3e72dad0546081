package org.understudy.dirtylog;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.understudy.fault.FaultPoint;
import org.understudy.linux.NativeLibrary;
import org.understudy.linux.PidFd;
import org.understudy.linux.Userfaultfd;

/**
 * Our side of {@link UffdInjector}: starts it, copies the descriptor, and kills it when it hangs.
 */
final class Injector {
  private static final long START_LIMIT_MS = 30_000;
  private static final long STOP_LIMIT_MS = 1_500;
  private static final String END = "\0end";

  private final int pid;
  private final String fault;
  private final LinkedBlockingQueue<String> lines = new LinkedBlockingQueue<>();
  private long createStopUs;
  private long closeStopUs;

  /** {@code fault}: value of {@link UffdInjector#FAULT}, empty for none. */
  Injector(int pid, String fault) {
    this.pid = pid;
    this.fault = fault;
  }

  /**
   * A userfaultfd of the target's address space, with nothing of it left in the target.
   *
   * @throws IOException the target has ended, or does not allow it, or the injector died; the
   *     target goes on, and what it may still hold is removed by the next injection
   */
  Userfaultfd obtain() throws IOException {
    Process process = start();
    Userfaultfd result = null;
    boolean whole = false;
    try (PidFd target = new PidFd(pid);
        Writer toInjector = process.outputWriter(StandardCharsets.UTF_8)) {
      FaultPoint.INJECTOR_STARTED.reached();
      String[] made = expect(process, "fd");
      createStopUs = Long.parseLong(made[2]);
      result = new Userfaultfd(target.getFd(Integer.parseInt(made[1])));
      toInjector.write("taken\n");
      toInjector.flush();
      closeStopUs = Long.parseLong(expect(process, "closed")[1]);
      whole = true;
      return result;
    } finally {
      // The end of its input, or of itself, is all it takes: the target restores itself.
      if (!whole) {
        if (result != null) {
          result.close();
        }
        awaitOrKill(process);
      }
    }
  }

  /** How long a thread of the target was held to create the descriptor, in microseconds. */
  long createStopUs() {
    return createStopUs;
  }

  /** How long a thread of the target was held to close the descriptor, in microseconds. */
  long closeStopUs() {
    return closeStopUs;
  }

  private Process start() throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-Xms16m", "-Xmx32m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"));
    command.addAll(List.of("-Xshare:auto", "-D" + UffdInjector.FAULT + "=" + fault));
    command.add("-cp");
    command.add(
        NativeLibrary.classPath().stream().map(Path::toString).collect(Collectors.joining(":")));
    command.add(UffdInjector.class.getName());
    command.add(Integer.toString(pid));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    Thread reader =
        new Thread(
            () -> {
              try (BufferedReader output = process.inputReader(StandardCharsets.UTF_8)) {
                for (String line = output.readLine(); line != null; line = output.readLine()) {
                  lines.add(line);
                }
              } catch (IOException e) {
                lines.add("error " + e.getMessage());
              }
              lines.add(END);
            },
            "injector-output");
    reader.setDaemon(true);
    reader.start();
    return process;
  }

  /** The words of the next line that begins with {@code first}. */
  private String[] expect(Process process, String first) throws IOException {
    long limitMs = START_LIMIT_MS;
    StringBuilder other = new StringBuilder();
    while (true) {
      String line = next(limitMs);
      if (line == null) {
        process.destroyForcibly();
        throw new IOException(
            "the injector for process " + pid + " was silent for " + limitMs + " ms, killed");
      } else if (line.equals("stopping")) {
        limitMs = STOP_LIMIT_MS;
      } else if (line.startsWith(first + " ")) {
        return line.split(" ", -1);
      } else if (line.startsWith("error ")) {
        throw new IOException(
            "injecting userfaultfd into process " + pid + ": " + line.substring(6));
      } else if (line.equals(END)) {
        throw new IOException(
            "the injector for process " + pid + " died before `" + first + "`" + other);
      } else {
        other.append("; ").append(line);
      }
    }
  }

  private String next(long limitMs) throws IOException {
    try {
      return lines.poll(limitMs, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while waiting for the injector", e);
    }
  }

  private static void awaitOrKill(Process process) throws IOException {
    try {
      // It closes what it made, in a stop of the target or two, unless it hangs.
      if (!process.waitFor(STOP_LIMIT_MS, TimeUnit.MILLISECONDS)) {
        process.destroyForcibly().waitFor();
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
