package org.understudy.failover;

import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.ToDoubleFunction;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.QemuGuest;

/**
 * How long a promotion takes and how fast pages are placed; prints medians. Not run with the tests:
 * {@code mvn test -pl standby-loader -am -Dtest=PromotionMeasurement}. Property {@code
 * understudy.runs}: promotions of each kind (default 7).
 */
@Tag("qemu")
class PromotionMeasurement {
  private static final int RUNS = Integer.getInteger("understudy.runs", 7);
  private static final int MIB = Integer.getInteger("understudy.mib", 512);
  private static final PromotionSettings STARTED =
      new PromotionSettings(true, 20_000, 20_000, 60_000);

  private final SplittableRandom random = new SplittableRandom(1);

  @Test
  void promotionAndPlacement() throws Exception {
    QemuGuest.Builder builder =
        QemuGuest.builder(GuestImages.proof())
            .memoryMib(MIB)
            .vcpus(2)
            .kernel("proof.size=64 proof.check=64")
            .vga()
            .network()
            .balloon()
            .directDisk(16);
    try (QemuGuest primary = builder.start().awaitReady()) {
      StoppedGuest image = new StoppedGuest(primary);
      System.out.printf(
          "guest of %d MiB: %d of %d pages not zero, %d bytes of device state, load average %s%n",
          MIB,
          image.nonZero.count(),
          image.layout().pages(),
          image.deviceState().remaining(),
          java.nio.file.Files.readString(java.nio.file.Path.of("/proc/loadavg")).strip());
      for (double fraction : new double[] {1, 0.25, 0}) {
        List<PromotionReport> reports = new ArrayList<>();
        for (int run = 0; run < RUNS; run++) {
          reports.add(promote(primary, image, fraction, run));
        }
        System.out.printf(
            "Fast %.0f %%, %d runs, ms: prepared %s, loaded %s, running %s, all pages %s; pages"
                + " wanted %s not zero + %s zero, waited µs p50 %s p99 %s longest %s%n",
            fraction * 100,
            RUNS,
            spread(reports, PromotionReport::preparedMs),
            spread(reports, PromotionReport::loadedMs),
            spread(reports, PromotionReport::runningMs),
            spread(reports, PromotionReport::totalMs),
            spread(reports, r -> r.pages().wanted()),
            spread(reports, r -> r.pages().wantedZero()),
            spread(reports, r -> r.demand().p50Micros()),
            spread(reports, r -> r.demand().p99Micros()),
            spread(reports, r -> r.demand().longestMicros()));
      }
    }
  }

  private PromotionReport promote(QemuGuest primary, StoppedGuest image, double fraction, int run)
      throws IOException {
    image.fastPages().clear();
    try (StandbyPair pair = new StandbyPair(primary, image, "pc-q35-7.2", true)) {
      pair.place(image.choose(fraction, random));
      if (run == 0 && fraction == 1) {
        placementSpeed(pair);
      }
      PromotionReport report = Promotion.promote(pair.standby, image, new int[0], STARTED);
      System.out.println(report);
      assertInstanceOf(PromotionReport.Outcome.Completed.class, report.outcome());
      return report;
    }
  }

  /** From memory, into pages that are new and into pages that are there. */
  private static void placementSpeed(StandbyPair pair) throws IOException {
    PageSet all = pair.image.nonZero;
    List<ByteBuffer> content = new ArrayList<>();
    for (int page = all.next(0); page >= 0; page = all.next(page + 1)) {
      ByteBuffer copy = ByteBuffer.allocateDirect(Pages.SIZE);
      pair.image.read(page, copy);
      content.add(copy.flip());
    }
    for (int round = 0; round < 6; round++) {
      boolean first = round % 2 == 0;
      if (first) {
        long began = System.nanoTime();
        pair.standby.discard(0, pair.image.layout().pages());
        pair.standby.flush();
        System.out.printf("discard of all: %.1f ms%n", (System.nanoTime() - began) / 1e6);
      }
      long began = System.nanoTime();
      int i = 0;
      for (int page = all.next(0); page >= 0; page = all.next(page + 1)) {
        pair.standby.place(page, content.get(i++).duplicate());
      }
      pair.standby.flush();
      double seconds = (System.nanoTime() - began) / 1e9;
      System.out.printf(
          "placed %d pages %s: %.0f MB/s%n",
          i, first ? "for the first time" : "again", i * 4096e-6 / seconds);
    }
  }

  private static String spread(
      List<PromotionReport> reports, ToDoubleFunction<PromotionReport> value) {
    double[] sorted = reports.stream().mapToDouble(value).sorted().toArray();
    return String.format(
        "%.1f [%.1f..%.1f]", sorted[sorted.length / 2], sorted[0], sorted[sorted.length - 1]);
  }
}
