package org.understudy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.capture.CaptureOutcome.Committed;
import org.understudy.capture.CaptureSettings;
import org.understudy.capture.EpochCapture;
import org.understudy.capture.PauseGuard;
import org.understudy.capture.RamMap;
import org.understudy.dirtylog.DirtyLogs;
import org.understudy.guest.GuestMapping;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.QemuGuest;

/** Each committed epoch is the primary's memory at its pause, every RAM block, every bit. */
@Tag("qemu")
class BitIdentityTest {
  private static final long MIB = 1 << 20;

  @TempDir Path folder;

  @Test
  void everyBlockOfTheStandbyEqualsThePrimaryAtThePauseForFiftyEpochs() throws Exception {
    try (QemuGuest guest =
        QemuGuest.builder(GuestImages.proof())
            .memoryMib(512)
            .vcpus(4)
            .uefi()
            .vga()
            .network()
            .balloon()
            .directDisk(64)
            .kernel("proof.size=96 proof.workers=2 proof.rate=16")
            .start()) {
      follow(guest.awaitReady(), 512, 50, false);
    }
  }

  @Test
  @Tag("long")
  void soDoesAGuestWhoseMemoryLiesOnBothSidesOfTheHoleBelowFourGibibytes() throws Exception {
    try (QemuGuest guest =
        QemuGuest.builder(GuestImages.proof())
            .memoryMib(5120)
            .vcpus(4)
            .uefi()
            .vga()
            .network()
            .balloon()
            .directDisk(64)
            .kernel("proof.size=512 proof.rate=16")
            .start()) {
      follow(guest.awaitReady(), 5120, 50, true);
    }
  }

  private void follow(QemuGuest guest, int memoryMib, int epochs, boolean presentOnly)
      throws Exception {
    try (DescriptorMonitor monitor = new DescriptorMonitor(guest.qmpSocket2())) {
      GuestMapping mapping = RamMap.survey(monitor, guest.pid());
      var log = DirtyLogs.open(mapping);
      try (PausedMemory paused = new PausedMemory(log, mapping, presentOnly);
          FollowingStandby standby =
              new FollowingStandby(
                  Files.createDirectory(folder.resolve("i")), mapping.layout(), guest);
          EpochCapture capture =
              new EpochCapture(
                  monitor, mapping, paused, new NoDeadline(), CaptureSettings.DEFAULT)) {
        Assumptions.assumeTrue(
            log.method().equals(DirtyLogs.PAGEMAP_SCAN), "the dirty log here is " + log.method());
        long counterBefore = guest.serial().awaitCounterAbove(0, Duration.ofMinutes(1));
        Set<Long> balloonSizes = new HashSet<>();
        Map<String, Integer> changes = new TreeMap<>();
        long pages = 0;
        int pauses = 0;
        int resident = 0;
        for (int epoch = 1; epoch <= epochs; epoch++) {
          // Inflated and deflated in turn; what the guest gives back becomes zero at once.
          if (epoch % 5 == 2) {
            long mib = epoch % 10 == 2 ? memoryMib - memoryMib / 4 : memoryMib;
            guest.qmp().execute("balloon", Map.of("value", mib * MIB));
          }
          Committed done =
              assertInstanceOf(Committed.class, capture.captureInto(standby.sender.sink(), epoch));
          assertTrue(standby.sender.awaitAcknowledged(epoch, 120_000), "epoch " + epoch);
          pages += done.pages();
          pauses += done.pauses().size();
          compare(mapping, paused.hash, standby.hashes(epoch, paused.hash), epoch);
          resident = Math.max(resident, standby.residentPages);
          for (int block = 0; block < paused.hash.length && epoch > 1; block++) {
            if (paused.changed[block]) {
              changes.merge(mapping.layout().blocks().get(block).name(), 1, Integer::sum);
            }
          }
          balloonSizes.add(guest.qmp().execute("query-balloon").get("actual").asLong() / MIB);
        }
        System.out.printf(
            "%d epochs of %s: %d pages in %d pauses, %d read at the last; %d resident at most;"
                + " balloon %s MiB;"
                + " epochs that found a block changed: %s; %s%n",
            epochs,
            mapping.layout(),
            pages,
            pauses,
            paused.pagesRead,
            resident,
            balloonSizes,
            changes,
            standby.image.counts());
        String ram = mapping.layout().blockNamed("pc.ram") >= 0 ? "pc.ram" : "none";
        assertTrue(changes.getOrDefault(ram, 0) >= epochs / 2, "memory at rest: " + changes);
        assertTrue(balloonSizes.size() > 1, "the balloon never moved: " + balloonSizes);
        assertTrue(resident > 1000, "only " + resident + " pages were ever in Fast");
        assertTrue(standby.image.counts().mediumPages() > 0, "nothing in Medium");
        assertTrue(standby.image.counts().slowPages() > 0, "nothing in Slow");
        assertTrue(guest.serial().lastCounter().orElseThrow() > counterBefore);
        assertNull(guest.serial().failure());
      }
    }
  }

  private static void compare(GuestMapping mapping, long[] primary, long[] standby, int epoch) {
    for (int block = 0; block < primary.length; block++) {
      String name = mapping.layout().blocks().get(block).name();
      assertEquals(
          List.of(epoch, name, Long.toHexString(primary[block])),
          List.of(epoch, name, Long.toHexString(standby[block])));
    }
  }

  /** Reading all of the memory in a pause takes longer than any deadline that a guard has. */
  private static final class NoDeadline implements PauseGuard {
    @Override
    public void begin(int pipeFd) {}

    @Override
    public void firstByte() {}

    @Override
    public boolean endedInTime() {
      return true;
    }
  }
}
