package org.understudy.failover;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.understudy.guest.PageSet;
import org.understudy.standby.PagemapPresence;
import org.understudy.standby.StandbyState;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.QemuGuest;

/** A promoted standby is the stopped primary, page by page and register by register. */
@Tag("qemu")
class PromotionTest {
  private static final String Q35 = "pc-q35-7.2";
  private static final PromotionSettings PAUSED =
      new PromotionSettings(false, 20_000, 20_000, 60_000);
  private static final PromotionSettings STARTED =
      new PromotionSettings(true, 20_000, 20_000, 60_000);

  private final SplittableRandom random = seeded();

  private static SplittableRandom seeded() {
    long seed = System.nanoTime();
    System.out.println("PromotionTest seed " + seed);
    return new SplittableRandom(seed);
  }

  private static QemuGuest.Builder guest(int mib) {
    return QemuGuest.builder(GuestImages.proof())
        .memoryMib(mib)
        .kernel("proof.size=32 proof.check=64");
  }

  enum Machine {
    Q35_512(Q35),
    PC_512("pc-i440fx-7.2"),
    Q35_512_QEMU_10(Q35),
    Q35_UEFI(Q35),
    Q35_5G(Q35);

    final String type;

    Machine(String type) {
      this.type = type;
    }

    QemuGuest.Builder builder() {
      QemuGuest.Builder builder =
          guest(this == Q35_5G ? 5120 : 512)
              .machine(type)
              .vcpus(2)
              .vga()
              .network()
              .balloon()
              .directDisk(16);
      if (this == Q35_512_QEMU_10) {
        GuestImages.Found<GuestImages.Qemu> newer = GuestImages.qemu10();
        Assumptions.assumeTrue(newer.present(), newer.reason());
        builder.qemu(newer.value());
      }
      return this == Q35_UEFI ? builder.uefi() : builder;
    }
  }

  @ParameterizedTest
  @EnumSource(Machine.class)
  void everyBlockAndRegisterIsThePrimarys(Machine machine) throws Exception {
    try (QemuGuest primary = machine.builder().start().awaitReady()) {
      primary.serial().awaitPasses(1, Duration.ofMinutes(2));
      StoppedGuest image = new StoppedGuest(primary);
      for (double fraction : machine == Machine.Q35_512 ? new double[] {0, 0.3, 1} : P30) {
        image.fastPages().clear();
        try (StandbyPair pair = new StandbyPair(primary, image, machine.type, true)) {
          pair.place(image.choose(fraction, random));
          PromotionReport report = Promotion.promote(pair.standby, image, new int[0], PAUSED);
          System.out.println(machine + " " + fraction + ": " + report);
          assertInstanceOf(PromotionReport.Outcome.Completed.class, report.outcome());
          assertEquals("none", image.difference(pair.mapping));
          assertEquals(image.registers, pair.qemu.qmp().hmp("info registers -a"));
          assertEquals("paused", pair.qemu.qmp().runState());
          pair.qemu.qmp().execute("cont");
          pair.qemu.serial().awaitPasses(2, Duration.ofMinutes(2));
          assertEquals(null, pair.qemu.serial().failure());
        }
      }
    }
  }

  private static final double[] P30 = {0.3};

  @Test
  void theGuestRunsOnFromAlmostNothingAndAsksForWhatItTouches() throws Exception {
    try (QemuGuest primary = guest(512).vcpus(2).start().awaitReady()) {
      primary.serial().awaitPasses(1, Duration.ofMinutes(2));
      StoppedGuest image = new StoppedGuest(primary);
      long counter = primary.serial().lastCounter().orElseThrow();
      try (StandbyPair pair = new StandbyPair(primary, image, Q35, true)) {
        PromotionReport report = Promotion.promote(pair.standby, image, new int[0], STARTED);
        System.out.println("from nothing: " + report);
        assertInstanceOf(PromotionReport.Outcome.Completed.class, report.outcome());
        assertEquals(
            new StandbyState.Running(7, new StandbyState.Delivery.Complete()),
            pair.standby.state());
        assertTrue(report.pages().wanted() > 0, report.toString());
        assertEquals(
            image.layout().pages(),
            report.pages().resident()
                + report.pages().wanted()
                + report.pages().wantedZero()
                + report.pages().pushed()
                + report.pages().pushedZero());
        assertTrue(pair.qemu.serial().awaitCounterAbove(counter, Duration.ofMinutes(1)) > counter);
        pair.qemu.serial().awaitPasses(2, Duration.ofMinutes(2));
      }
    }
  }

  @Test
  void pagesPlacedTakenOutAndOutdatedManyTimesDoNoHarm() throws Exception {
    try (QemuGuest primary = guest(256).vga().start().awaitReady()) {
      StoppedGuest image = new StoppedGuest(primary);
      try (StandbyPair pair = new StandbyPair(primary, image, Q35, true)) {
        int pages = image.layout().pages();
        ByteBuffer garbage = ByteBuffer.allocateDirect(4096);
        for (int round = 0; round < 20; round++) {
          pair.place(image.choose(0.2, random));
          for (int i = 0; i < 200; i++) { // older content: not in the image's Fast any more
            int page = random.nextInt(pages);
            garbage.clear().putLong(0, random.nextLong() | 1);
            pair.standby.place(page, garbage);
            image.fastPages().remove(page);
          }
          for (int i = 0; i < 100; i++) {
            int from = random.nextInt(pages);
            int to = Math.min(pages, from + 1 + random.nextInt(64));
            pair.standby.discard(from, to);
            image.fastPages().removeRange(from, to);
          }
        }
        PromotionReport report = Promotion.promote(pair.standby, image, new int[0], PAUSED);
        System.out.println("many rounds: " + report);
        assertInstanceOf(PromotionReport.Outcome.Completed.class, report.outcome());
        assertTrue(report.pages().stale() > 0, report.toString());
        assertEquals("none", image.difference(pair.mapping));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aDumpAndAScreenshotOfTheArmedStandbyLeaveNoZeros(boolean probed) throws Exception {
    try (QemuGuest primary = guest(256).vga().start().awaitReady()) {
      StoppedGuest image = new StoppedGuest(primary);
      try (StandbyPair pair = new StandbyPair(primary, image, Q35, probed)) {
        pair.place(image.choose(0.3, random));
        Path dump = pair.qemu.folder().resolve("dump");
        pair.qemu
            .qmp()
            .execute("pmemsave", Map.of("val", 0, "size", 200 << 20, "filename", dump.toString()));
        pair.qemu.qmp().execute("screendump", Map.of("filename", dump.toString()));
        PageSet present = new PageSet(image.layout().pages());
        new PagemapPresence(pair.mapping).present(0, present);
        present.removeAll(image.fastPages());
        assertTrue(present.count() > 1000, "the dump brought " + present + " into being");
        PromotionReport report = Promotion.promote(pair.standby, image, new int[0], PAUSED);
        System.out.println("after a dump, probed " + probed + ": " + report);
        assertInstanceOf(PromotionReport.Outcome.Completed.class, report.outcome());
        assertEquals(probed, report.pages().strays() > 1000, report.toString());
        assertEquals("none", image.difference(pair.mapping));
      }
    }
  }
}
