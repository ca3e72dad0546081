package org.understudy.capture;

import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToLongFunction;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.understudy.capture.CaptureOutcome.Committed;
import org.understudy.dirtylog.DirtyLog;
import org.understudy.dirtylog.DirtyLogs;
import org.understudy.guard.GuardClient;
import org.understudy.guard.GuardSettings;
import org.understudy.guard.ProcessIdentity;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.linux.ProcessMemory;

/** Prints where the time of a pause goes, and whether copying ahead would shorten it. */
@Tag("qemu")
class PauseMeasurementTest {
  private static final int EPOCHS = 40;
  private static final int WARM_UP = 10;

  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({"1, false", "1000, false", "8000, false", "8000, true"})
  void pausePerPhase(int written, boolean copyAhead) throws IOException {
    Assumptions.assumeTrue(Files.isExecutable(TestGuest.PROGRAM), "no " + TestGuest.PROGRAM);
    try (TestGuest guest =
        WritingGuest.start(folder, written, 100_000, "-machine", "q35", "-m", "512")) {
      GuestMapping mapping = RamMap.survey(guest.monitor, guest.pid());
      GuardSettings settings =
          GuardSettings.of(
                  ProcessIdentity.of(guest.pid()), folder.resolve("guard"), "", 0, List.of())
              .withTimes(200, 10_000, 10_000); // the machine may be loaded; the pauses are printed
      try (GuardClient guard =
              GuardClient.start(settings, folder.resolve("settings"), List.of("setsid"));
          DirtyLog log = DirtyLogs.open(mapping);
          EpochCapture capture =
              new EpochCapture(guest.monitor, mapping, log, guard, CaptureSettings.DEFAULT)) {
        List<PauseTiming> pauses = measure(capture, mapping, log, copyAhead);
        print(written, copyAhead, log.method(), pauses);
        assertTrue(median(pauses, PauseTiming::pausedNs) < 500_000_000L);
        guard.finish();
      }
    }
  }

  private static List<PauseTiming> measure(
      EpochCapture capture, GuestMapping mapping, DirtyLog log, boolean copyAhead)
      throws IOException {
    List<PauseTiming> pauses = new ArrayList<>();
    PageSet seen = new PageSet(mapping.layout().pages());
    ProcessMemory memory = new ProcessMemory(mapping.pid());
    ByteBuffer ahead = ByteBuffer.allocateDirect(128 << 20);
    long[] addresses = new long[ahead.capacity() >> 12];
    for (int epoch = 1; epoch <= WARM_UP + EPOCHS; epoch++) {
      if (copyAhead && epoch > 1) {
        seen.clear();
        log.look(seen);
        int count = 0;
        for (int page = seen.next(0); page >= 0; page = seen.next(page + 1)) {
          addresses[count++] = mapping.addressOf(page);
        }
        memory.readPages(addresses, count, ahead.clear());
      }
      CaptureOutcome outcome = capture.captureInto(new Nowhere(), epoch);
      Committed done = assertInstanceOf(Committed.class, outcome, outcome.toString());
      if (epoch > WARM_UP) {
        pauses.addAll(done.pauses());
      }
    }
    return pauses;
  }

  private static void print(int written, boolean copyAhead, String method, List<PauseTiming> all) {
    System.out.printf(
        "## %d pages written, copy ahead %s, %s, median of %d pauses: open %.2f, scan %.2f,"
            + " copy %.2f, device state %.2f, paused %.2f (p95 %.2f) ms; %d pages, %d bytes%n",
        written,
        copyAhead,
        method,
        all.size(),
        median(all, PauseTiming::openNs) / 1e6,
        median(all, PauseTiming::scanNs) / 1e6,
        median(all, PauseTiming::copyNs) / 1e6,
        median(all, PauseTiming::deviceStateNs) / 1e6,
        median(all, PauseTiming::pausedNs) / 1e6,
        quantile(all, PauseTiming::pausedNs, 0.95) / 1e6,
        median(all, PauseTiming::pages),
        median(all, PauseTiming::deviceStateBytes));
  }

  private static long median(List<PauseTiming> all, ToLongFunction<PauseTiming> of) {
    return quantile(all, of, 0.5);
  }

  private static long quantile(List<PauseTiming> all, ToLongFunction<PauseTiming> of, double q) {
    long[] values = all.stream().mapToLong(of).sorted().toArray();
    return values[(int) (q * (values.length - 1))];
  }

  /** A sink that keeps nothing. */
  private static final class Nowhere implements EpochSink {
    @Override
    public void begin(long epoch) {}

    @Override
    public void page(int page, ByteBuffer content) {}

    @Override
    public void zeroPage(int page) {}

    @Override
    public void deviceState(ByteBuffer state) {}

    @Override
    public void commit() {}

    @Override
    public void discard() {}
  }
}
