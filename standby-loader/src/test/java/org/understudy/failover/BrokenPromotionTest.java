package org.understudy.failover;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.standby.StandbyState;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.QemuGuest;
import org.understudy.tier.CommittedImage;

/** A promotion that breaks says whether it can be repeated, and then it can. */
@Tag("qemu")
class BrokenPromotionTest {
  private static final String Q35 = "pc-q35-7.2";
  private static final PromotionSettings STARTED =
      new PromotionSettings(true, 10_000, 10_000, 20_000);

  private static QemuGuest primary;
  private static StoppedGuest image;

  @BeforeAll
  static void stopPrimary() throws Exception {
    primary = QemuGuest.builder(GuestImages.proof()).memoryMib(128).kernel("proof.size=16").start();
    primary.awaitReady();
    image = new StoppedGuest(primary);
  }

  @AfterAll
  static void end() throws IOException {
    if (primary != null) {
      primary.close();
    }
  }

  /** The image with something wrong in it. */
  private static class Flawed implements CommittedImage {
    @Override
    public GuestLayout layout() {
      return image.layout();
    }

    @Override
    public long epoch() {
      return image.epoch();
    }

    @Override
    public boolean isZero(int page) {
      return image.isZero(page);
    }

    @Override
    public void read(int page, ByteBuffer into) throws IOException {
      image.read(page, into);
    }

    @Override
    public PageSet fastPages() {
      return image.fastPages();
    }

    @Override
    public ByteBuffer deviceState() throws IOException {
      return image.deviceState();
    }
  }

  private static void promoteAnother() throws Exception {
    try (StandbyPair other = new StandbyPair(primary, image, Q35, true)) {
      PromotionReport report = Promotion.promote(other.standby, image, new int[0], STARTED);
      assertInstanceOf(PromotionReport.Outcome.Completed.class, report.outcome());
      other.qemu.serial().awaitPasses(2, Duration.ofMinutes(1));
    }
  }

  @Test
  void deviceStateThatQemuRefusesLosesTheStandbyAndNothingElse() throws Exception {
    Flawed flawed =
        new Flawed() {
          @Override
          public ByteBuffer deviceState() {
            ByteBuffer state = image.deviceState();
            // Magic, version, section type and number come before the first section's name.
            int nameAt = 8 + 1 + 4 + 1;
            return state.put(nameAt, (byte) (state.get(nameAt) ^ 0x20));
          }
        };
    try (StandbyPair pair = new StandbyPair(primary, image, Q35, true)) {
      PromotionReport report = Promotion.promote(pair.standby, flawed, new int[0], STARTED);
      System.out.println("refused devices: " + report);
      assertInstanceOf(PromotionReport.Outcome.Repeatable.class, report.outcome());
      assertInstanceOf(StandbyState.Refused.class, pair.standby.state());
      assertTrue(pair.qemu.process().waitFor(10, TimeUnit.SECONDS));
    }
    promoteAnother();
  }

  @Test
  void aTruncatedDeviceStateIsNotEvenSent() throws Exception {
    Flawed flawed =
        new Flawed() {
          @Override
          public ByteBuffer deviceState() {
            ByteBuffer state = image.deviceState();
            return state.limit(state.limit() - 1);
          }
        };
    try (StandbyPair pair = new StandbyPair(primary, image, Q35, true)) {
      PromotionReport report = Promotion.promote(pair.standby, flawed, new int[0], STARTED);
      PromotionReport.Outcome.Repeatable outcome =
          assertInstanceOf(PromotionReport.Outcome.Repeatable.class, report.outcome());
      assertTrue(outcome.reason().contains("device state"), outcome.reason());
      assertFalse(pair.qemu.serial().lines().stream().anyMatch(l -> l.startsWith("proof")));
    }
    promoteAnother();
  }

  @Test
  void aQemuKilledWhilePagesAreReadForItLosesTheStandbyOnly() throws Exception {
    StandbyPair[] killed = new StandbyPair[1];
    Flawed deadly =
        new Flawed() {
          @Override
          public void read(int page, ByteBuffer into) throws IOException {
            killed[0].qemu.kill();
            super.read(page, into);
          }
        };
    try (StandbyPair pair = new StandbyPair(primary, image, Q35, true)) {
      killed[0] = pair;
      PromotionReport report = Promotion.promote(pair.standby, deadly, new int[0], STARTED);
      System.out.println("killed: " + report);
      assertInstanceOf(PromotionReport.Outcome.Repeatable.class, report.outcome());
    }
    promoteAnother();
  }

  @Test
  void pagesThatCannotBeReadLeaveTheRunningGuestWaitingForRecovery() throws Exception {
    int[] reads = new int[1];
    Flawed failing =
        new Flawed() {
          @Override
          public void read(int page, ByteBuffer into) throws IOException {
            if (++reads[0] > 2_000) {
              throw new IOException("the disk is gone");
            }
            super.read(page, into);
          }
        };
    try (StandbyPair pair = new StandbyPair(primary, image, Q35, true)) {
      PromotionReport report = Promotion.promote(pair.standby, failing, new int[0], STARTED);
      System.out.println("broken after RUN: " + report);
      PromotionReport.Outcome.AwaitsRecovery outcome =
          assertInstanceOf(PromotionReport.Outcome.AwaitsRecovery.class, report.outcome());
      assertTrue(outcome.reason().contains("the disk is gone"), outcome.reason());
      StandbyState.Running running =
          assertInstanceOf(StandbyState.Running.class, pair.standby.state());
      assertInstanceOf(StandbyState.Delivery.Interrupted.class, running.delivery());
      long end = System.nanoTime() + 10_000_000_000L;
      while (!pair.qemu.output().contains("Migration paused")) {
        assertTrue(System.nanoTime() < end, "QEMU says: " + pair.qemu.output());
        LockSupport.parkNanos(1_000_000);
      }
      assertTrue(pair.qemu.process().isAlive());
    }
  }
}
