package org.understudy.guard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A process whose pulse this test is. */
@Timeout(30)
class OutputWatchTest {
  private static final long SECOND_NS = 1_000_000_000;

  @TempDir private Path folder;
  private Process holder;
  private Path file;
  private Path removed;
  private int beats;

  @BeforeEach
  void start() throws IOException {
    holder = new ProcessBuilder("sleep", "60").start();
    file = folder.resolve("a holder");
    removed = folder.resolve("removed");
    Files.writeString(folder.resolve("a holder.release"), "touch '" + removed + "'");
    beat();
  }

  @AfterEach
  void end() {
    holder.destroyForcibly();
  }

  private void beat() throws IOException {
    Files.writeString(folder.resolve("a holder.pulse"), Integer.toString(beats++));
  }

  private OutputWatch watch() throws IOException {
    return new OutputWatch(ProcessIdentity.of((int) holder.pid()), file, 0);
  }

  private void awaitRemoval() throws InterruptedException {
    while (!Files.exists(removed)) {
      Thread.sleep(10);
    }
  }

  @Test
  void aHolderWithoutAPulseIsKilledAfterASecondAndItsFiltersGo() throws Exception {
    try (OutputWatch watch = watch()) {
      assertNull(watch.tick(0));
      for (int i = 1; i <= 20; i++) {
        String done = watch.tick(i * SECOND_NS / 20);
        assertEquals(i == 20, done != null, "after " + i + " twentieths of a second: " + done);
      }
      assertTrue(holder.waitFor(5, TimeUnit.SECONDS));
      assertNotNull(watch.tick(2 * SECOND_NS));
      awaitRemoval();
      assertNull(watch.tick(3 * SECOND_NS), "once");
    }
  }

  @Test
  void aHolderThatEndsIsNoticedAndItsFiltersGo() throws Exception {
    try (OutputWatch watch = watch()) {
      assertNull(watch.tick(0));
      holder.destroyForcibly().waitFor();
      assertNotNull(watch.tick(1));
      awaitRemoval();
    }
  }

  @Test
  void aGuardThatSleptKillsNobody() throws Exception {
    try (OutputWatch watch = watch()) {
      watch.tick(0);
      assertNull(watch.tick(60 * SECOND_NS), "one look shows nothing");
      beat();
      for (int i = 0; i < 9; i++) {
        assertNull(watch.tick((60 + i) * SECOND_NS));
      }
      beat();
      assertNull(watch.tick(70 * SECOND_NS));
      assertTrue(holder.isAlive());
    }
  }
}
