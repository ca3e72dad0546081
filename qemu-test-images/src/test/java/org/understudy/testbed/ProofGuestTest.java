package org.understudy.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The proof guest counts, and says so when a single page of it is not what it was. */
@Tag("qemu")
class ProofGuestTest {
  private static final long MAGIC = 0x50524f4f46504147L;
  private static final int PAGE = 4096;
  private static final Pattern BLOCK = Pattern.compile("(?m)^ *(\\S+) +\\d+ KiB");
  private static final Pattern MAPPING = Pattern.compile("^(\\p{XDigit}+)-(\\p{XDigit}+) ");

  private static QemuGuest.Builder small() {
    return QemuGuest.builder(GuestImages.proof())
        .memoryMib(192)
        .kernel("proof.size=16 proof.check=32");
  }

  @Test
  void theCounterRisesWhileDisksAndNetworkAreBusy() throws Exception {
    QemuGuest.Builder builder =
        small().vcpus(2).kernel("proof.workers=2").network().directDisk(16).balloon().vga();
    try (QemuGuest guest = builder.start()) {
      long started = System.nanoTime();
      guest.awaitReady();
      System.out.printf(
          "proof guest ready after %d ms%n", (System.nanoTime() - started) / 1_000_000);
      guest.serial().awaitPasses(3, Duration.ofMinutes(1));
      long counter = guest.serial().lastCounter().orElseThrow();
      assertTrue(guest.serial().awaitCounterAbove(counter + 20, Duration.ofMinutes(1)) > counter);
      guest.serial().await("io [1-9]\\d* ok", Duration.ofSeconds(30));
      assertTrue(guest.qmp().hmp("info network").contains("virtio-net-pci"));
    }
  }

  @Test
  void aPausedGuestGoesOnWhereItStopped() throws Exception {
    try (QemuGuest guest = small().start()) {
      guest.awaitReady();
      guest.serial().awaitCounterAbove(10, Duration.ofMinutes(1));
      guest.qmp().execute("stop");
      assertEquals("paused", guest.qmp().runState());
      long counter = guest.serial().lastCounter().orElseThrow();
      guest.qmp().execute("cont");
      assertTrue(guest.serial().awaitCounterAbove(counter, Duration.ofSeconds(30)) > counter);
    }
  }

  @Test
  void aZeroedPageIsReported() throws Exception {
    assertEquals("zero", damage((memory, area) -> memory.write(area.get(7), new byte[PAGE])));
  }

  @Test
  void twoSwappedPagesAreReported() throws Exception {
    String kind =
        damage(
            (memory, area) -> {
              byte[] one = memory.read(area.get(3));
              memory.write(area.get(3), memory.read(area.get(4)));
              memory.write(area.get(4), one);
            });
    assertEquals("another page's content", kind);
  }

  @Test
  void halfAPageThatIsZeroIsReported() throws Exception {
    String kind =
        damage(
            (memory, area) -> {
              memory.write(area.get(5) + PAGE / 2, new byte[PAGE / 2 - 8]);
            });
    assertEquals("torn inside the page", kind);
  }

  @Test
  void aPageOfAnEarlierInstantIsReported() throws Exception {
    try (QemuGuest guest = small().start()) {
      guest.awaitReady();
      Memory memory = new Memory(guest.pid());
      guest.qmp().execute("stop");
      List<Long> area = memory.area();
      List<byte[]> before = new ArrayList<>();
      for (int i = 0; i < 64; i++) {
        before.add(memory.read(area.get(i)));
      }
      guest.qmp().execute("cont");
      guest
          .serial()
          .awaitCounterAbove(
              guest.serial().lastCounter().orElseThrow() + 64, Duration.ofMinutes(1));
      guest.qmp().execute("stop");
      int old = 0;
      while (old < 64 && java.util.Arrays.equals(before.get(old), memory.read(area.get(old)))) {
        old++;
      }
      assertTrue(old < 64, "none of 64 hot pages was rewritten by 64 transactions");
      memory.write(area.get(old), before.get(old));
      guest.qmp().execute("cont");
      assertEquals("stale", reported(guest));
    }
  }

  @Test
  void aStandbyOfTheSameArgumentsTakesTheGuestByMigrationAndItsProofHolds() throws Exception {
    try (QemuGuest guest = small().network().start();
        QemuGuest standby = guest.startStandby()) {
      assertEquals("inmigrate", standby.qmp().runState());
      assertEquals(blocks(guest), blocks(standby));
      standby
          .qmp()
          .execute("migrate-incoming", Map.of("uri", "unix:" + standby.folder().resolve("in")));
      guest.awaitReady();
      guest.qmp().execute("migrate", Map.of("uri", "unix:" + standby.folder().resolve("in")));
      guest.qmp().awaitEvent("STOP", Duration.ofMinutes(1));
      long end = System.nanoTime() + Duration.ofMinutes(1).toNanos();
      while (!standby.qmp().runState().equals("paused")) { // -S holds after the migration
        assertTrue(System.nanoTime() < end, standby.qmp().runState());
      }
      standby.qmp().execute("cont");
      standby.serial().awaitPasses(2, Duration.ofMinutes(1));
    }
  }

  @Test
  void aCommandThatQemuRefusesIsAnException() throws Exception {
    try (QemuGuest guest = small().start()) {
      QmpException refused =
          assertThrows(
              QmpException.class, () -> guest.qmp().execute("device_del", Map.of("id", "none")));
      assertEquals("DeviceNotFound", refused.errorClass());
    }
  }

  private static List<String> blocks(QemuGuest guest) throws IOException {
    return BLOCK
        .matcher(guest.qmp().hmp("info ramblock"))
        .results()
        .map(found -> found.group(1))
        .toList();
  }

  private interface Damage {
    void apply(Memory memory, List<Long> area) throws IOException;
  }

  private static String damage(Damage damage) throws Exception {
    try (QemuGuest guest = small().start()) {
      guest.awaitReady();
      guest.serial().awaitPasses(2, Duration.ofMinutes(1));
      guest.qmp().execute("stop");
      Memory memory = new Memory(guest.pid());
      damage.apply(memory, memory.area());
      guest.qmp().execute("cont");
      return reported(guest);
    }
  }

  private static String reported(QemuGuest guest) throws Exception {
    Pattern failed = Pattern.compile("PROOF FAILED worker 0: page \\d+ is (.*?): number");
    return guest.serial().await(failed, 0, Duration.ofMinutes(1)).group(1);
  }

  /** The memory of a QEMU process, by virtual address. */
  private record Memory(int pid) {

    byte[] read(long address) throws IOException {
      try (RandomAccessFile file = new RandomAccessFile("/proc/" + pid + "/mem", "r")) {
        byte[] page = new byte[PAGE];
        file.seek(address);
        file.readFully(page);
        return page;
      }
    }

    void write(long address, byte[] bytes) throws IOException {
      try (RandomAccessFile file = new RandomAccessFile("/proc/" + pid + "/mem", "rw")) {
        file.seek(address);
        file.write(bytes);
      }
    }

    /**
     * Addresses of the proof area's pages by their number, of worker 0 in a guest that is stopped.
     */
    List<Long> area() throws IOException {
      Map<Long, Long> found = new java.util.TreeMap<>();
      for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/maps"))) {
        Matcher mapping = MAPPING.matcher(line);
        assertTrue(mapping.find(), line);
        long start = Long.parseUnsignedLong(mapping.group(1), 16);
        long end = Long.parseUnsignedLong(mapping.group(2), 16);
        if (end - start != 192L << 20) {
          continue;
        }
        try (RandomAccessFile file = new RandomAccessFile("/proc/" + pid + "/mem", "r")) {
          byte[] chunk = new byte[1 << 20];
          for (long at = start; at < end; at += chunk.length) {
            file.seek(at);
            file.readFully(chunk);
            ByteBuffer words64 = ByteBuffer.wrap(chunk).order(ByteOrder.LITTLE_ENDIAN);
            for (int page = 0; page < chunk.length; page += PAGE) {
              if (words64.getLong(page) == MAGIC) {
                found.put(words64.getLong(page + 8), at + page);
              }
            }
          }
        }
      }
      assertEquals(16 * 256, found.size(), "pages of the proof area in QEMU's memory");
      return List.copyOf(found.values());
    }
  }
}
