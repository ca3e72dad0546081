package org.understudy.fence;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(120)
class FenceTest {
  private static final UUID DOMAIN = UUID.fromString("11111111-2222-3333-4444-555555555555");
  private static final FenceTarget TARGET = new FenceTarget("my web; $(x)", DOMAIN, "host-a");

  @TempDir Path folder;

  @Test
  void offThenStatusOffIsFencedAndTheScriptGetsItsArgumentsAsTheyAre() throws Exception {
    Path log = folder.resolve("log");
    Fence fence =
        fence(
            """
            printf '%%s|' "$@" >> %s; echo >> %s
            [ "$1" = status ] && echo off
            exit 0
            """
                .formatted(log, log));
    assertTrue(fence.fence(TARGET) instanceof FenceResult.Fenced);
    assertEquals(
        List.of(
            "off|my web; $(x)|" + DOMAIN + "|host-a|",
            "status|my web; $(x)|" + DOMAIN + "|host-a|"),
        Files.readAllLines(log));
  }

  @Test
  void aScriptThatFailsIsQuotedWithItsLastLine() throws Exception {
    Fence fence = fence("echo trying; echo 'no route to BMC' >&2; echo; exit 3");
    String why = why(fence);
    assertTrue(why.startsWith("fence script '" + folder.resolve("fence") + " off my web"), why);
    assertTrue(why.endsWith("ended with exit code 3; its last line: no route to BMC"), why);
  }

  @Test
  void anythingButOffAfterwardsIsAFailure() throws Exception {
    assertTrue(why(fence("echo on")).endsWith("printed 'on', expected 'off'"));
    assertTrue(why(fence("true")).endsWith("printed '', expected 'off'"));
    assertTrue(why(fence("echo off; echo but not really")).endsWith("expected 'off'"));
    String why = why(fence("echo off; [ \"$1\" = off ]"));
    assertTrue(why.contains(" status my web"), why);
    assertTrue(why.endsWith("ended with exit code 1; its last line: off"), why);
  }

  @Test
  void aScriptThatHangsIsKilledWithItsChildrenAfterItsTime() throws Exception {
    Path pids = folder.resolve("pids");
    Path script =
        script(
            "echo waiting; sleep 600 & echo $! >> %s; echo $$ >> %s; wait".formatted(pids, pids));
    String why = why(new ExecFence(script, Duration.ofMillis(1500)));
    assertTrue(why.endsWith("did not end within 1500 ms; its last line: waiting"), why);
    List<String> started = Files.readAllLines(pids);
    assertEquals(2, started.size());
    for (String pid : started) {
      assertEnds(Long.parseLong(pid));
    }
  }

  @Test
  void aChildThatKeepsTheOutputOpenDoesNotHoldTheFenceUp() throws Exception {
    Path pids = folder.resolve("pids");
    Fence fence =
        new ExecFence(
            script("setsid sleep 20 & echo $! >> %s; echo off".formatted(pids)),
            Duration.ofSeconds(15));
    long start = System.nanoTime();
    try {
      assertTrue(fence.fence(TARGET) instanceof FenceResult.Fenced);
      assertTrue(System.nanoTime() - start < 10_000_000_000L);
    } finally {
      for (String pid : Files.readAllLines(pids)) {
        ProcessHandle.of(Long.parseLong(pid)).ifPresent(ProcessHandle::destroyForcibly);
      }
    }
  }

  @Test
  void aScriptThatCannotBeStartedIsAFailure() throws Exception {
    Path missing = folder.resolve("missing");
    String why = why(new ExecFence(missing, Duration.ofSeconds(5)));
    assertTrue(why.contains("could not be started: "), why);
    assertTrue(why.contains(missing.toString()), why);
  }

  @Test
  void noFenceSucceedsAndSaysWhatThatMeans() throws Exception {
    Fence none = Fence.of(Optional.empty(), Duration.ofSeconds(1));
    if (none.fence(TARGET) instanceof FenceResult.Fenced fenced) {
      assertEquals(
          "fence.provider is none: nobody made sure that my web; $(x) is off on host-a",
          fenced.how());
    } else {
      throw new AssertionError("failed");
    }
    assertTrue(none.description().contains("WARNING"));
    assertFalse(Fence.of(Optional.of(folder), Duration.ofSeconds(1)) instanceof NoFence);
  }

  private static String why(Fence fence) throws InterruptedException {
    FenceResult result = fence.fence(TARGET);
    if (result instanceof FenceResult.Failed failed) {
      return failed.why();
    }
    throw new AssertionError(result.toString());
  }

  private static void assertEnds(long pid) throws InterruptedException {
    long end = System.nanoTime() + 5_000_000_000L;
    while (ProcessHandle.of(pid).map(ProcessHandle::isAlive).orElse(false)) {
      assertTrue(System.nanoTime() < end, "process " + pid + " is still there");
      Thread.onSpinWait();
    }
  }

  private Fence fence(String body) throws IOException {
    return new ExecFence(script(body), Duration.ofSeconds(10));
  }

  private Path script(String body) throws IOException {
    Path script = Files.writeString(folder.resolve("fence"), "#!/bin/sh\n" + body + "\n");
    assertTrue(script.toFile().setExecutable(true));
    return script;
  }
}
