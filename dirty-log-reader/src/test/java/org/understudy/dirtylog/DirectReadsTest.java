package org.understudy.dirtylog;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.linux.ProcessMemory;

/**
 * A page that is read into with O_DIRECT is marked when it is pinned, before the data lands. The
 * rule for a true copy: look as often as you like while I/O is in flight, re-arm only when it is
 * drained, and copy again then all that was seen since the last arming.
 */
class DirectReadsTest {
  private static final int PAGES = 4096;
  private static final int ROUNDS = Integer.getInteger("understudy.direct.rounds", 30);

  @ParameterizedTest
  @ValueSource(strings = {"pagemap-scan", "soft-dirty", "compare"})
  void copyMadeByTheRuleIsEqualWhileDirectReadsAreInFlight(String method) throws Exception {
    for (DirtyLogs.Availability each : DirtyLogs.probe()) {
      assumeTrue(!each.method().equals(method) || each.available(), each.reason());
    }
    Path disk = Files.createTempFile(Path.of("target"), "disk", "").toAbsolutePath();
    try (Target target = new Target("writer")) {
      byte[] content = new byte[16 << 20];
      new SplittableRandom(1).nextBytes(content);
      Files.write(disk, content);
      TargetRam ram = TargetRam.of(target, java.util.List.of("anon"), PAGES);
      long address = ram.mapping().hostAddress()[0];
      ProcessMemory memory = new ProcessMemory(target.pid());
      ByteBuffer copy = ByteBuffer.allocateDirect(PAGES * Pages.SIZE);
      ByteBuffer truth = ByteBuffer.allocateDirect(PAGES * Pages.SIZE);
      long copied = 0;
      try (DirtyLog log = DirtyLogs.open(ram.mapping(), method)) {
        target.ask("start %s %x %d".formatted(disk, address, PAGES));
        for (int round = 0; round < ROUNDS; round++) {
          for (int live = 0; live < 3; live++) {
            PageSet ahead = ram.none();
            log.look(ahead);
            copied += copy(ram, memory, ahead, copy);
          }
          target.ask("pause");
          PageSet again = ram.none();
          log.rearm(again);
          copied += copy(ram, memory, again, copy);
          memory.read(address, truth.clear());
          assertEquals(-1, copy.clear().mismatch(truth.clear()), "round " + round);
          target.ask("go");
        }
      }
      long reads = Long.parseLong(target.ask("stop"));
      System.out.println(method + ": " + reads + " direct reads, " + copied + " pages copied");
      assertTrue(reads > ROUNDS, "direct reads: " + reads);
    } finally {
      Files.delete(disk);
    }
  }

  private static int copy(TargetRam ram, ProcessMemory memory, PageSet pages, ByteBuffer copy)
      throws IOException {
    int count = 0;
    for (int page = pages.next(0); page >= 0; page = pages.next(page + 1)) {
      copy.clear().position(page * Pages.SIZE).limit((page + 1) * Pages.SIZE);
      memory.read(ram.mapping().addressOf(page), copy);
      count++;
    }
    return count;
  }
}
