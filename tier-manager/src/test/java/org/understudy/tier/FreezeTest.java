package org.understudy.tier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.guest.Pages;

class FreezeTest {
  private static final Duration LONG = Duration.ofSeconds(60);

  @TempDir Path directory;

  private static void writeRange(StandbyImage image, Guest guest, int from, int to, int salt)
      throws Exception {
    guest.epoch++;
    image.begin(guest.epoch);
    for (int page = from; page < to; page++) {
      byte[] content = new byte[Pages.SIZE];
      Arrays.fill(content, (byte) (page * 7 + salt | 1));
      ByteBuffer.wrap(content).putInt(0, page).putInt(4, salt);
      guest.ram[page] = content;
      image.page(page, ByteBuffer.wrap(content));
    }
    guest.device = new byte[] {(byte) salt};
    image.deviceState(ByteBuffer.wrap(guest.device));
    image.commit();
  }

  @Test
  void aFreezeDoesNotWaitForFoldingAndFastIsTheCommittedEpoch() throws Exception {
    Guest guest = new Guest(8000);
    RecordingGuest fast = new RecordingGuest(8000);
    TierSettings settings =
        new TierSettings(TierBudget.ofPercent(25), TierBudget.ofPercent(50), 8, 16_384);
    int busy = 0;
    try (StandbyImage image = guest.create(directory, settings)) {
      writeRange(image, guest, 0, 8000, 1);
      image.attach(fast);
      assertTrue(image.settle(LONG));
      assertEquals(2000, fast.present.cardinality());
      for (int round = 0; round < 12; round++) {
        writeRange(image, guest, 1000, 6000, 10 + 2 * round);
        writeRange(image, guest, 500, 4000, 11 + 2 * round);
        CommittedImage frozen = image.freeze();
        TierCounts counts = image.counts();
        busy += counts.redoPages() > 0 ? 1 : 0;
        guest.assertEqualTo(frozen);
        guest.assertFast(frozen, fast);
        TierCounts after = image.counts();
        assertEquals(counts.moves(), after.moves(), "nothing moves while frozen");
        assertEquals(counts.redoPages(), after.redoPages(), "nothing is folded while frozen");
        image.thaw();
      }
      assertTrue(image.settle(LONG), image.counts()::toString);
      guest.assertEqualTo(image.freeze());
    }
    System.out.println(busy + " of 12 freezes found pages still to fold");
    assertTrue(busy > 0);
  }

  /** The aim is 2 ms; the bound here leaves room for a machine that is busy with other work. */
  @Test
  void aFreezeWithoutBacklogTakesMilliseconds() throws Exception {
    Guest guest = new Guest(20_000);
    try (StandbyImage image = guest.create(directory, TierSettings.DEFAULT)) {
      image.attach(new RecordingGuest(20_000));
      SplittableRandom random = new SplittableRandom(3);
      long[] tookNs = new long[50];
      for (int round = 0; round < tookNs.length; round++) {
        if (round % 10 == 0) {
          int from = random.nextInt(10_000);
          writeRange(image, guest, from, from + 2000, round);
          assertTrue(image.settle(LONG), image.counts()::toString);
        }
        long start = System.nanoTime();
        image.freeze();
        tookNs[round] = System.nanoTime() - start;
        image.thaw(); // after which the placement plans anew, and the next freeze meets that
      }
      Arrays.sort(tookNs);
      System.out.printf(
          "freeze without backlog: median %.3f ms, longest %.3f ms%n",
          tookNs[25] / 1e6, tookNs[49] / 1e6);
      assertTrue(tookNs[25] < 2_000_000, "median " + tookNs[25] + " ns");
    }
  }
}
