package org.understudy.guest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.BitSet;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class PageSetTest {
  @Test
  void behavesLikeBitSetUnderRandomOperations() {
    long seed = System.nanoTime();
    System.out.println("PageSetTest seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    for (int round = 0; round < 300; round++) {
      int pages = 1 + random.nextInt(300);
      PageSet set = new PageSet(pages);
      BitSet expected = new BitSet();
      for (int step = 0; step < 40; step++) {
        int from = random.nextInt(pages);
        int to = from + random.nextInt(pages - from + 1);
        switch (random.nextInt(5)) {
          case 0 -> {
            set.add(from);
            expected.set(from);
          }
          case 1 -> {
            set.remove(from);
            expected.clear(from);
          }
          case 2 -> {
            set.addRange(from, to);
            expected.set(from, to);
          }
          case 3 -> {
            set.removeRange(from, to);
            expected.clear(from, to);
          }
          default -> {
            PageSet other = new PageSet(pages);
            other.addRange(from, to);
            set.removeAll(other);
            expected.clear(from, to);
          }
        }
        assertEquals(expected.cardinality(), set.count());
        assertEquals(expected.nextSetBit(from), set.next(from));
        assertEquals(Math.min(pages, expected.nextClearBit(from)), set.nextAbsent(from));
      }
    }
  }

  @Test
  void pagesOutsideAreRefused() {
    assertThrows(IndexOutOfBoundsException.class, () -> new PageSet(64).add(64));
    assertThrows(IndexOutOfBoundsException.class, () -> new PageSet(64).addRange(0, 65));
    assertThrows(IllegalArgumentException.class, () -> new PageSet(64).addAll(new PageSet(65)));
  }
}
