package org.understudy.failover;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.understudy.capture.RamMap;
import org.understudy.failover.PromotionReport.Outcome;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.standby.RecoveryMonitor;
import org.understudy.standby.StandbyGuest;
import org.understudy.standby.StandbyProcess;
import org.understudy.standby.StandbySettings;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.QemuGuest;
import org.understudy.testbed.Qmp;
import org.understudy.testbed.QmpException;

/**
 * The stream of a promotion is cut at random bytes. Either the guest had not run, then QEMU takes
 * no new stream and the promotion can be repeated; or it had, then it goes on with a new stream and
 * not a page is lost. {@code -Dunderstudy.cuts=N} for more cuts than a build has time for.
 */
@Tag("qemu")
class RecoveryTest {
  private static final String Q35 = "pc-q35-7.2";
  private static final int CUTS = Integer.getInteger("understudy.cuts", 8);
  private static final PromotionSettings PAUSED =
      new PromotionSettings(false, 20_000, 20_000, 60_000);
  private static final PromotionSettings STARTED =
      new PromotionSettings(true, 20_000, 20_000, 60_000);

  /** The bytes in which LISTEN, device state and RUN lie, about. */
  private static final int PACKAGE_BYTES = 400_000;

  private final long seed = Long.getLong("understudy.seed", System.nanoTime());
  private final SplittableRandom random = new SplittableRandom(seed);
  private QemuGuest primary;
  private StoppedGuest image;
  private int repeatable;
  private int recovered;
  private int recoveredTwice;

  @ParameterizedTest
  @ValueSource(strings = {"7.2", "10.0"})
  void aStreamCutAtAnyByteLosesNoPageOfAGuestThatRan(String version) throws Exception {
    System.out.println("RecoveryTest seed " + seed);
    QemuGuest.Builder builder =
        QemuGuest.builder(GuestImages.proof())
            .memoryMib(128)
            .vcpus(2)
            .network()
            .kernel("proof.size=16 proof.check=64");
    if (version.equals("10.0")) {
      GuestImages.Found<GuestImages.Qemu> newer = GuestImages.qemu10();
      Assumptions.assumeTrue(newer.present(), newer.reason());
      builder.qemu(newer.value());
    }
    try (QemuGuest started = builder.start()) {
      primary = started.awaitReady();
      image = new StoppedGuest(primary);
      long whole = cut(Long.MAX_VALUE, PAUSED);
      assertEquals(0, repeatable + recovered);
      for (int i = 0; i < CUTS; i++) {
        long at = random.nextLong(i % 4 == 0 ? PACKAGE_BYTES : whole);
        cut(at, i % 4 == 2 ? PAUSED : STARTED);
      }
      System.out.println(
          version
              + ": "
              + CUTS
              + " cuts, "
              + repeatable
              + " before the guest ran, "
              + recovered
              + " recovered, "
              + recoveredTwice
              + " of them cut and recovered once more");
      assertTrue(recovered > 0, "no cut came after RUN");
    }
  }

  /** Promotes with a cut after {@code at} bytes; returns the bytes of the whole stream. */
  private long cut(long at, PromotionSettings settings) throws Exception {
    image.fastPages().clear();
    QemuGuest qemu = primary.startStandby();
    CutRelay[] relay = new CutRelay[1];
    QmpStandby monitor =
        new QmpStandby(qemu.qmp()) {
          @Override
          public void migrateIncoming(Path socket) throws IOException {
            super.migrateIncoming(CutRelay.qemuSide(socket));
            relay[0] = new CutRelay(socket);
          }
        };
    GuestMapping own = RamMap.survey(monitor.survey(), qemu.pid());
    try (qemu;
        Qmp outOfBand = Qmp.connectOutOfBand(qemu.qmpSocket2());
        StandbyGuest standby =
            StandbyGuest.arm(
                image.layout(),
                Q35,
                monitor,
                qemu.folder().resolve("incoming"),
                StandbyProcess.of(own, image.layout()),
                StandbySettings.defaults());
        CutRelay way = relay[0]) {
      place(standby, image.choose(0.3, random));
      long before = way.passed();
      if (at < Long.MAX_VALUE) {
        way.cutAfter(at);
      }
      PromotionReport report;
      try {
        report = Promotion.promote(standby, image, new int[0], settings);
      } catch (IOException beforeAnything) {
        neverRan(qemu, at, beforeAnything);
        return 0;
      }
      if (report.outcome() instanceof Outcome.Completed) {
        assertEquals("none", image.difference(inOrder(own)));
        return way.passed() - before;
      }
      PromotionReport after;
      try {
        after = recover(qemu, outOfBand, monitor, settings);
      } catch (IOException refused) {
        // Also after the PONG that says that all devices are loaded: RUN comes behind it.
        neverRan(qemu, at, refused);
        return 0;
      }
      System.out.println("cut after " + at + " bytes (" + report.outcome() + "): " + after);
      assertInstanceOf(Outcome.Completed.class, after.outcome());
      recovered++;
      complete(qemu, own, settings);
      return 0;
    }
  }

  private void place(StandbyGuest standby, PageSet pages) throws IOException {
    var content = java.nio.ByteBuffer.allocateDirect(4096);
    for (int page = pages.next(0); page >= 0; page = pages.next(page + 1)) {
      image.read(page, content.clear());
      standby.place(page, content.flip());
    }
    standby.flush();
    image.fastPages().addAll(pages);
  }

  /** As another process would: with nothing but QEMU's out-of-band monitor and the image. */
  private PromotionReport recover(
      QemuGuest qemu, Qmp outOfBand, QmpStandby monitor, PromotionSettings settings)
      throws Exception {
    RecoveryMonitor direct = socket -> migrateRecover(outOfBand, socket);
    Path socket = qemu.folder().resolve("again");
    if (random.nextBoolean()) {
      return Recovery.recover(
          direct, socket, monitor, image, new int[0], settings, StandbySettings.defaults());
    }
    CutRelay[] relay = new CutRelay[1];
    RecoveryMonitor cut =
        at -> {
          direct.migrateRecover(CutRelay.qemuSide(at));
          relay[0] = new CutRelay(at);
          relay[0].cutAfter(1_000 + random.nextLong(4 << 20));
        };
    PromotionReport first =
        Recovery.recover(
            cut, socket, monitor, image, new int[0], settings, StandbySettings.defaults());
    relay[0].close();
    if (first.outcome() instanceof Outcome.Completed) {
      return first;
    }
    assertInstanceOf(Outcome.AwaitsRecovery.class, first.outcome());
    recoveredTwice++;
    return Recovery.recover(
        direct,
        qemu.folder().resolve("third"),
        monitor,
        image,
        new int[0],
        settings,
        StandbySettings.defaults());
  }

  private static void migrateRecover(Qmp outOfBand, Path socket) throws IOException {
    try {
      outOfBand.executeOutOfBand("migrate-recover", Map.of("uri", "unix:" + socket));
    } catch (QmpException refused) {
      throw new IOException(refused.getMessage(), refused);
    }
  }

  private void neverRan(QemuGuest qemu, long at, IOException refused) throws Exception {
    repeatable++;
    System.out.println("cut after " + at + " bytes: repeatable, " + refused.getMessage());
    assertTrue(qemu.process().waitFor(10, TimeUnit.SECONDS), "QEMU is alive and not recovered");
    System.out.println(qemu.output().strip());
    assertFalse(ran(qemu), "the guest ran before its QEMU was lost");
  }

  private static boolean ran(QemuGuest qemu) throws IOException {
    return qemu.serial().lines().stream().anyMatch(line -> line.startsWith("proof"));
  }

  private void complete(QemuGuest qemu, GuestMapping own, PromotionSettings settings)
      throws Exception {
    if (settings.start()) {
      qemu.serial().awaitPasses(2, Duration.ofMinutes(1));
    } else {
      assertEquals("none", image.difference(inOrder(own)));
      assertEquals(image.registers, qemu.qmp().hmp("info registers -a"));
      qemu.qmp().execute("cont");
      qemu.serial().awaitPasses(1, Duration.ofMinutes(1));
    }
    assertEquals(null, qemu.serial().failure());
  }

  private GuestMapping inOrder(GuestMapping own) {
    long[] addresses = new long[image.layout().blocks().size()];
    for (int i = 0; i < addresses.length; i++) {
      int block = own.layout().blockNamed(image.layout().blocks().get(i).name());
      addresses[i] = own.hostAddress()[block];
    }
    return new GuestMapping(own.pid(), image.layout(), addresses);
  }
}
