package org.understudy.tier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.understudy.guest.PageSet;

class TierPartsTest {
  @Test
  void budgetsAreReadAndPrinted() {
    assertEquals(TierBudget.ofPercent(25), TierBudget.parse("25%"));
    assertEquals(TierBudget.ofPercent(12.5), TierBudget.parse(" 12.5 % "));
    assertEquals(TierBudget.ofBytes(256L << 20), TierBudget.parse("256M"));
    assertEquals(TierBudget.ofBytes(256L << 20), TierBudget.parse("256 MiB"));
    assertEquals(TierBudget.ofBytes(3L << 29), TierBudget.parse("1.5gb"));
    assertEquals(TierBudget.ofBytes(0), TierBudget.parse("0"));
    assertEquals("256M", TierBudget.parse("256MB").toString());
    assertEquals("12.5%", TierBudget.parse("12.5%").toString());
    assertEquals("25%", TierBudget.parse("25%").toString());
    assertEquals(250, TierBudget.parse("25%").pages(1000));
    assertEquals(65_536, TierBudget.parse("256M").pages(1000));
    for (String wrong :
        new String[] {"", "x", "-1", "101%", "1X", "10iB", "9999999T", "%", "1e9", "٣%"}) {
      assertThrows(IllegalArgumentException.class, () -> TierBudget.parse(wrong), wrong);
    }
    assertEquals(
        "budget \"much\", expected a share such as 25% or a size such as 256M",
        assertThrows(IllegalArgumentException.class, () -> TierBudget.parse("much")).getMessage());
  }

  @Test
  void freeSpaceNeverGivesAUnitTwiceAndUsesFreedOnesAgain() {
    long seed = System.nanoTime();
    System.out.println("TierPartsTest.freeSpace seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    for (int round = 0; round < 60; round++) {
      FreeSpace space = new FreeSpace();
      BitSet used = new BitSet();
      List<int[]> runs = new ArrayList<>();
      int limit = 1 + random.nextInt(2000);
      for (int step = 0; step < 2000; step++) {
        if (random.nextInt(5) < 3) {
          int units = 1 + random.nextInt(16);
          int at = space.allocate(units, limit);
          if (at < 0) {
            for (int i = used.nextClearBit(0); i + units <= limit; i = used.nextClearBit(i + 1)) {
              int end = used.nextSetBit(i);
              assertTrue(end >= 0 && end - i < units, units + " units are free at " + i);
            }
          } else {
            assertTrue(at + units <= limit);
            assertTrue(used.get(at, at + units).isEmpty());
            used.set(at, at + units);
            runs.add(new int[] {at, units});
          }
        } else if (!runs.isEmpty()) {
          int[] run = runs.remove(random.nextInt(runs.size()));
          space.free(run[0], run[1]);
          used.clear(run[0], run[0] + run[1]);
          assertThrows(IllegalStateException.class, () -> space.free(run[0], 1));
        }
        assertEquals(used.cardinality(), space.usedUnits());
        assertEquals(used.length(), space.top());
      }
      int first = used.nextSetBit(0);
      assertTrue(first < 0 || !space.claim(Math.max(0, first - 1), 2));
      assertTrue(space.claim(5000, 3));
      assertFalse(space.claim(5002, 1));
    }
  }

  @Test
  void freeSpaceOfAStoreWithoutLimitStaysBounded() {
    SplittableRandom random = new SplittableRandom(4);
    FreeSpace space = new FreeSpace();
    List<int[]> runs = new ArrayList<>();
    for (int step = 0; step < 200_000; step++) {
      if (runs.size() >= 1000) {
        int[] run = runs.remove(random.nextInt(runs.size()));
        space.free(run[0], run[1]);
      }
      int units = 1 + random.nextInt(16);
      runs.add(new int[] {space.allocate(units, Integer.MAX_VALUE), units});
    }
    assertTrue(space.top() < 2 * 8500, space.top() + " units for about 8500 in use");
  }

  @Test
  void pagesWrittenOftenAndLatelyComeFirst() {
    SplittableRandom random = new SplittableRandom(9);
    int pages = 500;
    RecencyFrequency policy = new RecencyFrequency(pages);
    double[] worth = new double[pages];
    for (int epoch = 1; epoch <= 300; epoch++) {
      PageSet written = new PageSet(pages);
      double decay = Math.pow(0.5, 1.0 / RecencyFrequency.HALF_LIFE);
      for (int page = 0; page < pages; page++) {
        worth[page] *= decay;
        if (random.nextInt(pages) < page / 8) {
          written.add(page);
          worth[page] += 1;
        }
      }
      policy.written(epoch, written);
    }
    PageSet candidates = new PageSet(pages);
    List<Integer> expected = new ArrayList<>();
    for (int page = 0; page < pages; page++) {
      if (random.nextInt(4) > 0) {
        candidates.add(page);
        expected.add(page);
      }
    }
    expected.sort(Comparator.comparingDouble(page -> -worth[page]));
    int[] order = new int[200];
    assertEquals(200, policy.mostUrgent(candidates, order));
    Set<Integer> seen = new HashSet<>();
    for (int rank = 0; rank < order.length; rank++) {
      assertTrue(candidates.contains(order[rank]) && seen.add(order[rank]));
      // The log is rounded and the buckets are a sixteenth of a doubling wide.
      double ratio = worth[order[rank]] / worth[expected.get(rank)];
      assertTrue(Math.abs(Math.log(ratio) / Math.log(2)) < 0.2, "rank " + rank + ": " + ratio);
    }
    int[] all = new int[pages];
    assertEquals(candidates.count(), policy.mostUrgent(candidates, all));
    assertEquals(0, policy.mostUrgent(new PageSet(pages), all));
  }
}
