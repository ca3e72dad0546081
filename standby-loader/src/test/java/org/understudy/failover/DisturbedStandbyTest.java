package org.understudy.failover;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.guest.RamBlock;
import org.understudy.standby.StandbyGuest;
import org.understudy.standby.StandbyProcess;
import org.understudy.standby.StandbySettings;
import org.understudy.standby.StandbyState;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.QemuGuest;

/** A standby that somebody used, or whose QEMU is gone or hangs, is refused and says why. */
@Tag("qemu")
class DisturbedStandbyTest {
  private static final String Q35 = "pc-q35-7.2";
  private static final StandbySettings QUICK = new StandbySettings(50, 2_000, 500, 128 << 10);

  private static QemuGuest primary;
  private static StoppedGuest image;

  @BeforeAll
  static void stopPrimary() throws Exception {
    primary =
        QemuGuest.builder(GuestImages.proof())
            .memoryMib(128)
            .kernel("proof.size=16")
            .directDisk(16)
            .start();
    primary.awaitReady();
    image = new StoppedGuest(primary);
  }

  @AfterAll
  static void end() throws IOException {
    if (primary != null) {
      primary.close();
    }
  }

  private static StandbyPair pair() throws IOException {
    return new StandbyPair(primary, image, Q35, true, QUICK);
  }

  private static String awaitRefusal(StandbyPair pair) {
    long end = System.nanoTime() + 20_000_000_000L;
    while (!(pair.standby.state() instanceof StandbyState.Refused)) {
      assertTrue(System.nanoTime() < end, "after 20 s the standby is " + pair.standby.state());
      LockSupport.parkNanos(1_000_000);
    }
    return ((StandbyState.Refused) pair.standby.state()).reason();
  }

  private static void assertUnusable(StandbyPair pair, String reason) {
    IOException refused =
        assertThrows(
            IOException.class, () -> pair.standby.place(0, ByteBuffer.allocateDirect(Pages.SIZE)));
    assertTrue(refused.getMessage().contains(reason), refused.getMessage());
    assertThrows(IOException.class, () -> pair.standby.flush());
    assertThrows(
        IOException.class,
        () -> Promotion.promote(pair.standby, image, new int[0], PromotionSettings.defaults()));
  }

  @Test
  void anUndisturbedStandbyStaysArmed() throws Exception {
    try (StandbyPair pair = pair()) {
      long end = System.nanoTime() + 1_000_000_000L; // twenty looks
      while (System.nanoTime() < end) {
        assertEquals(new StandbyState.Armed(), pair.standby.state());
        LockSupport.parkNanos(10_000_000);
      }
    }
  }

  @Test
  void oneThatSomebodyResumedIsRefused() throws Exception {
    try (StandbyPair pair = pair()) {
      pair.qemu.qmp().execute("cont");
      assertEquals("inmigrate", pair.qemu.qmp().runState());
      assertTrue(awaitRefusal(pair).contains("somebody resumed it"));
      assertUnusable(pair, "somebody resumed it");
    }
  }

  @Test
  void oneThatSomebodyResumedJustBeforeThePromotionIsRefusedToo() throws Exception {
    StandbySettings seldom = new StandbySettings(600_000, 2_000, 500, 128 << 10);
    try (StandbyPair pair = new StandbyPair(primary, image, Q35, true, seldom)) {
      pair.qemu.qmp().execute("cont");
      IOException refused =
          assertThrows(
              IOException.class,
              () ->
                  Promotion.promote(pair.standby, image, new int[0], PromotionSettings.defaults()));
      assertTrue(refused.getMessage().contains("somebody resumed it"), refused.getMessage());
      assertInstanceOf(StandbyState.Refused.class, pair.standby.state());
    }
  }

  @Test
  void oneThatSomebodyResetIsRefused() throws Exception {
    try (StandbyPair pair = pair()) {
      pair.place(image.choose(0.1, new java.util.SplittableRandom(1)));
      assertEquals(new StandbyState.Following(), pair.standby.state());
      pair.qemu.qmp().execute("system_reset");
      assertTrue(awaitRefusal(pair).contains("it was reset"));
      assertUnusable(pair, "it was reset");
    }
  }

  @Test
  void oneWhoseQemuDiesIsRefused() throws Exception {
    try (StandbyPair pair = pair()) {
      pair.qemu.kill();
      assertTrue(awaitRefusal(pair).contains("QEMU is gone"));
      assertUnusable(pair, "QEMU is gone");
    }
  }

  @Test
  void oneWhoseQemuHangsIsRefusedWithinTheDeadline() throws Exception {
    try (StandbyPair pair = pair()) {
      signal("STOP", pair.qemu.pid());
      try {
        long began = System.nanoTime();
        assertThrows(IOException.class, () -> placeForEver(pair));
        long ms = (System.nanoTime() - began) / 1_000_000;
        assertTrue(ms < 10_000, "it took " + ms + " ms to notice");
        assertTrue(awaitRefusal(pair).contains("taken nothing"), awaitRefusal(pair));
      } finally {
        signal("CONT", pair.qemu.pid());
      }
    }
  }

  private static void placeForEver(StandbyPair pair) throws IOException {
    ByteBuffer content = ByteBuffer.allocateDirect(Pages.SIZE).putLong(0, 1);
    for (int i = 0; ; i++) {
      pair.standby.place(i % 1000, content.clear());
    }
  }

  @Test
  void aStandbyOfAnotherMachineTypeIsNotArmed() throws Exception {
    IOException refused =
        assertThrows(
            IOException.class,
            () -> new StandbyPair(primary, image, "pc-q35-7.1", true, QUICK).close());
    assertTrue(refused.getMessage().contains("pc-q35-7.1"), refused.getMessage());
  }

  @Test
  void aStandbyWithOtherBlocksIsNotArmed() throws Exception {
    List<RamBlock> blocks = new ArrayList<>(image.layout().blocks());
    blocks.add(new RamBlock("0000:00:09.0/nosuch.rom", 4096));
    try (QemuGuest qemu = primary.startStandby()) {
      assertThrows(
          IOException.class,
          () ->
              StandbyGuest.arm(
                  new GuestLayout(blocks),
                  Q35,
                  new QmpStandby(qemu.qmp()),
                  qemu.folder().resolve("in"),
                  StandbyProcess.of(qemu.pid()),
                  QUICK));
      assertTrue(qemu.process().waitFor(10, java.util.concurrent.TimeUnit.SECONDS));
      assertTrue(qemu.output().contains("Unknown ramblock"), qemu.output());
    }
  }

  @Test
  void aStandbyIsPromotedOnceOnly() throws Exception {
    try (StandbyPair pair = pair()) {
      PromotionSettings paused = new PromotionSettings(false, 10_000, 10_000, 10_000);
      assertInstanceOf(
          PromotionReport.Outcome.Completed.class,
          Promotion.promote(pair.standby, image, new int[0], paused).outcome());
      IOException again =
          assertThrows(
              IOException.class, () -> Promotion.promote(pair.standby, image, new int[0], paused));
      assertTrue(again.getMessage().contains("Running"), again.getMessage());
      assertThrows(IOException.class, () -> pair.place(new PageSet(image.layout().pages())));
    }
  }

  private static void signal(String name, int pid) throws Exception {
    assertEquals(
        0, new ProcessBuilder("kill", "-" + name, Integer.toString(pid)).start().waitFor());
  }
}
