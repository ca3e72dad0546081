package org.understudy.standby;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.RamBlock;

/** Pages of this very process, of which is known which were touched. */
class PagemapPresenceTest {
  private static final int PAGES = 40_000;

  @Test
  void exactlyTheTouchedPagesArePresentScannedAndRead() throws IOException {
    long seed = System.nanoTime();
    System.out.println("PagemapPresenceTest seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    Path file = Files.createTempFile(Path.of("/dev/shm"), "presence", ".pages");
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      MappedByteBuffer memory =
          channel.map(FileChannel.MapMode.READ_WRITE, 0, (PAGES + 10L) * 4096);
      long address = addressOf(file);
      GuestLayout layout =
          new GuestLayout(
              List.of(new RamBlock("one", 10 * 4096), new RamBlock("two", PAGES * 4096L)));
      GuestMapping mapping =
          new GuestMapping(
              (int) ProcessHandle.current().pid(),
              layout,
              new long[] {address, address + 10 * 4096});
      PageSet touched = new PageSet(layout.pages());
      for (int i = 0; i < 15_000; i++) {
        int page = 10 + random.nextInt(PAGES);
        memory.put(page * 4096, (byte) 1);
        touched.add(page);
      }
      for (boolean byScan : new boolean[] {true, false}) {
        PageSet present = new PageSet(layout.pages());
        PagemapPresence presence = new PagemapPresence(mapping, byScan);
        presence.present(0, present);
        presence.present(1, present);
        assertEquals(touched, present);
      }
      memory.put(3 * 4096, (byte) 1);
      PageSet present = new PageSet(layout.pages());
      new PagemapPresence(mapping).present(0, present);
      assertEquals(1, present.count());
      assertEquals(3, present.next(0));
    } finally {
      Files.delete(file);
    }
  }

  private static long addressOf(Path file) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/maps"))) {
      if (line.endsWith(file.toString())) {
        return Long.parseUnsignedLong(line.substring(0, line.indexOf('-')), 16);
      }
    }
    throw new IOException(file + " is not mapped");
  }
}
