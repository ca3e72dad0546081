package org.understudy.fault;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is planned strikes at its point, once, and at no other. */
class FaultPointTest {
  @TempDir Path folder;

  /** Reaches two points, and says so, for each line that it reads. */
  static final class Walker {
    private Walker() {}

    public static void main(String[] arguments) throws IOException {
      System.out.println("ready");
      while (System.in.read() >= 0) {
        FaultPoint.EPOCH_SENT.reached();
        System.out.println("sent");
        FaultPoint.EPOCH_DURABLE.reached();
        System.out.println("durable");
      }
    }
  }

  private final class Child implements AutoCloseable {
    final Process process;
    final BufferedReader lines;

    Child() throws IOException {
      process =
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "-D" + FaultPoint.PLAN + "=" + plan(),
                  "-XX:TieredStopAtLevel=1",
                  "-cp",
                  System.getProperty("java.class.path"),
                  Walker.class.getName())
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .start();
      lines = process.inputReader();
      assertEquals("ready", lines.readLine());
    }

    void walk() throws IOException {
      process.getOutputStream().write('\n');
      process.getOutputStream().flush();
    }

    @Override
    public void close() {
      process.destroyForcibly();
    }
  }

  private Path plan() {
    return folder.resolve("plan");
  }

  @Test
  void aKillEndsTheProcessAtThePointAndThePlanIsUsedUp() throws Exception {
    try (Child child = new Child()) {
      child.walk();
      assertEquals("sent", child.lines.readLine());
      assertEquals("durable", child.lines.readLine());
      Files.writeString(plan(), "EPOCH_DURABLE kill self\n");
      child.walk();
      assertEquals("sent", child.lines.readLine());
      assertEquals(null, child.lines.readLine());
      assertTrue(child.process.waitFor(10, TimeUnit.SECONDS));
      assertEquals(128 + 9, child.process.exitValue());
      assertFalse(Files.exists(plan()));
      assertTrue(Files.exists(folder.resolve("plan.struck")));
    }
  }

  @Test
  void aStallOfAnotherProcessEndsByItself() throws Exception {
    try (Child child = new Child();
        Child victim = new Child()) {
      Files.writeString(plan(), "EPOCH_SENT stall " + victim.process.pid() + "\n");
      long beganNs = System.nanoTime();
      child.walk();
      assertEquals("sent", child.lines.readLine());
      while (stateOf(victim.process) != 'T') {
        assertTrue(System.nanoTime() - beganNs < 3_000_000_000L, "the victim does not stop");
        Thread.onSpinWait();
      }
      victim.walk();
      assertEquals("sent", victim.lines.readLine());
      long stalledMs = (System.nanoTime() - beganNs) / 1_000_000;
      assertTrue(stalledMs >= Fault.STALL_SECONDS * 1000 - 100, stalledMs + " ms");
    }
  }

  private static char stateOf(Process process) throws IOException {
    String stat = Files.readString(Path.of("/proc/" + process.pid() + "/stat"));
    return stat.charAt(stat.lastIndexOf(')') + 2);
  }
}
