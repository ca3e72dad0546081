package org.understudy.guard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The guard as a process: what the kernel may do to it when memory is short. */
class GuardProcessTest {
  @TempDir Path folder;
  private Process guarded;
  private GuardClient client;
  private long guard;

  @AfterEach
  void end() throws IOException {
    if (client != null) {
      client.finish();
      client.close();
    }
    guarded.destroyForcibly();
  }

  private void start() throws IOException {
    guarded = new ProcessBuilder("sleep", "600").start();
    GuardSettings settings =
        GuardSettings.of(
            ProcessIdentity.of(Math.toIntExact(guarded.pid())),
            folder.resolve("guard.sock"),
            "",
            0,
            List.of());
    Path file = folder.resolve("guard.settings");
    client = GuardClient.start(settings, file, List.of("setsid"));
    guard =
        ProcessHandle.allProcesses()
            .filter(
                process ->
                    process
                        .info()
                        .arguments()
                        .map(words -> List.of(words).contains(file.toString()))
                        .orElse(false))
            .findFirst()
            .orElseThrow()
            .pid();
  }

  private long kib(String field) throws IOException {
    return Files.readAllLines(Path.of("/proc/" + guard + "/status")).stream()
        .filter(line -> line.startsWith(field + ":"))
        .map(line -> Long.parseLong(line.replaceAll("[^0-9]", "")))
        .findFirst()
        .orElseThrow();
  }

  /** CAP_SYS_RESOURCE; a container's root has it not. */
  private static boolean mayLowerOomScore() throws IOException {
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith("CapEff:"))
        .anyMatch(line -> (Long.parseLong(line.substring(7).strip(), 16) >> 24 & 1) == 1);
  }

  @Test
  void theKernelTakesOthersFirstAndCannotPageItOut() throws Exception {
    start();
    long deadlineNs = System.nanoTime() + 10_000_000_000L;
    while (kib("VmLck") == 0 && System.nanoTime() - deadlineNs < 0) {
      Thread.onSpinWait();
    }
    String log = Files.readString(folder.resolve("guard.settings.log"));
    String adjusted = Files.readString(Path.of("/proc/" + guard + "/oom_score_adj")).strip();
    if (mayLowerOomScore()) {
      assertEquals("-900", adjusted, log);
    } else {
      assertTrue(log.contains("oom_score_adj stays as it is"), log);
    }
    assertTrue(kib("VmLck") > 0, log);
    long unlocked =
        Files.readAllLines(Path.of("/proc/" + guard + "/smaps_rollup")).stream()
            .filter(line -> line.startsWith("Pss:") || line.startsWith("Locked:"))
            .mapToLong(
                line ->
                    (line.startsWith("Pss") ? 1 : -1)
                        * Long.parseLong(line.replaceAll("[^0-9]", "")))
            .sum();
    assertTrue(unlocked < 1024, unlocked + " KiB of the guard are not locked: " + log);
    assertTrue(kib("VmRSS") < 80 << 10, kib("VmRSS") + " KiB resident");
    System.out.println(
        "## guard: " + kib("VmRSS") + " KiB resident, all locked, oom_score_adj " + adjusted);
  }
}
