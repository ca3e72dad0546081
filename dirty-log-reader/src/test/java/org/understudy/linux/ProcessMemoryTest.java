package org.understudy.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class ProcessMemoryTest {
  private static final int PAGE = 4096;
  private final int self = (int) ProcessHandle.current().pid();

  @Test
  void scatteredAndAdjacentPagesArriveInTheOrderAskedFor() throws Exception {
    long seed = System.nanoTime();
    System.out.println("seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    int pages = 5000;
    ByteBuffer memory = Kernel.allocate((pages + 1) * PAGE);
    long base = (Kernel.addressOf(memory) + PAGE - 1) & -PAGE;
    int shift = (int) (base - Kernel.addressOf(memory));
    for (int page = 0; page < pages; page++) {
      memory.putInt(shift + page * PAGE, page).putInt(shift + page * PAGE + PAGE - 4, ~page);
    }
    int[] order = new int[pages];
    for (int i = 0; i < pages; i++) {
      // Runs of random length, longer than IOV_MAX pieces altogether.
      order[i] =
          i > 0 && random.nextInt(3) > 0 ? (order[i - 1] + 1) % pages : random.nextInt(pages);
    }
    long[] addresses = new long[pages];
    for (int i = 0; i < pages; i++) {
      addresses[i] = base + (long) order[i] * PAGE;
    }
    ByteBuffer copy = Kernel.allocate(pages * PAGE + 64).position(64);
    new ProcessMemory(self).readPages(addresses, pages, copy);
    assertEquals(0, copy.remaining());
    for (int i = 0; i < pages; i++) {
      assertEquals(order[i], copy.getInt(64 + i * PAGE), "page " + i);
      assertEquals(~order[i], copy.getInt(64 + i * PAGE + PAGE - 4), "page " + i);
    }
  }

  @Test
  void unmappedAddressAndMissingProcessAreToldApart() throws Exception {
    ByteBuffer page = Kernel.allocate(PAGE);
    ErrnoException fault =
        assertThrows(ErrnoException.class, () -> new ProcessMemory(self).read(4096, page));
    assertEquals(Errno.EFAULT, fault.errno());
    assertTrue(
        fault.getMessage().contains("process " + self + " from address 0x1000: EFAULT"),
        fault.getMessage());
    Process process = new ProcessBuilder("true").start();
    process.waitFor();
    ErrnoException gone =
        assertThrows(
            ErrnoException.class, () -> new ProcessMemory((int) process.pid()).read(4096, page));
    assertEquals(Errno.ESRCH, gone.errno());
  }

  @Test
  void unmappedPageAmongMappedOnesIsNamed() throws Exception {
    ByteBuffer memory = Kernel.allocate(3 * PAGE);
    long base = (Kernel.addressOf(memory) + PAGE - 1) & -PAGE;
    ErrnoException fault =
        assertThrows(
            ErrnoException.class,
            () ->
                new ProcessMemory(self)
                    .readPages(new long[] {base, 8192, base}, 3, Kernel.allocate(3 * PAGE)));
    assertTrue(fault.getMessage().contains("address 0x2000"), fault.getMessage());
  }
}
