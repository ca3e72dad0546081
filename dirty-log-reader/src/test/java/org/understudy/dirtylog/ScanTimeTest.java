package org.understudy.dirtylog;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.understudy.guest.PageSet;

/** Prints what a scan of sparsely written memory takes; asserts only what it found. */
class ScanTimeTest {
  private static final int ROUNDS = 15;

  @ParameterizedTest
  @CsvSource({
    "pagemap-scan, anon, 512",
    "pagemap-scan, memfd, 512",
    "compare, anon, 512",
    "pagemap-scan, anon, 4096",
    "compare, anon, 4096"
  })
  void scanFindsOnePageInAHundred(String method, String kind, int mib) throws Exception {
    for (DirtyLogs.Availability each : DirtyLogs.probe()) {
      assumeTrue(!each.method().equals(method) || each.available(), each.reason());
    }
    long availableMib =
        Files.readAllLines(Path.of("/proc/meminfo")).stream()
            .filter(line -> line.startsWith("MemAvailable:"))
            .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) >> 10)
            .sum();
    assumeTrue(
        availableMib > 2L * mib + 2048, () -> "only " + availableMib + " MiB of memory are free");
    int pages = mib << 8;
    int rounds = method.equals(DirtyLogs.COMPARE) ? 3 : ROUNDS;
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of(kind), pages);
      String address = Long.toHexString(ram.mapping().hostAddress()[0]);
      target.ask("step " + address + " " + pages + " 1");
      PageSet found = ram.none();
      long[] lookUs = new long[rounds];
      long[] rearmUs = new long[rounds];
      try (DirtyLog log = DirtyLogs.open(ram.mapping(), method)) {
        long startNs = System.nanoTime();
        log.rearm(found);
        long firstUs = (System.nanoTime() - startNs) / 1000;
        for (int round = 0; round < rounds; round++) {
          target.ask("step " + address + " " + pages + " 100");
          found.clear();
          startNs = System.nanoTime();
          log.look(found);
          lookUs[round] = (System.nanoTime() - startNs) / 1000;
          found.clear();
          startNs = System.nanoTime();
          log.rearm(found);
          rearmUs[round] = (System.nanoTime() - startNs) / 1000;
          assertEquals((pages + 99) / 100, found.count());
        }
        Arrays.sort(lookUs);
        Arrays.sort(rearmUs);
        System.out.printf(
            "%s, %d MiB %s, 1 page in 100 written: look %.2f ms, rearm %.2f ms (best of %d; "
                + "%.2f and %.2f ms per GiB; medians %.2f and %.2f ms); first rearm of all pages %.1f ms%n",
            method,
            mib,
            kind,
            lookUs[0] / 1e3,
            rearmUs[0] / 1e3,
            rounds,
            lookUs[0] * 1.024 / mib,
            rearmUs[0] * 1.024 / mib,
            lookUs[rounds / 2] / 1e3,
            rearmUs[rounds / 2] / 1e3,
            firstUs / 1e3);
      }
    }
  }
}
