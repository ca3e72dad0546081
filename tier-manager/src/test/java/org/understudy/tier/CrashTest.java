package org.understudy.tier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.guest.EpochSink;
import org.understudy.guest.Pages;

class CrashTest {
  private static final Duration LONG = Duration.ofSeconds(30);

  @TempDir Path directory;

  @Test
  void killedAtRandomMomentsItHoldsTheLastCommittedEpoch() throws Exception {
    long seed = System.nanoTime();
    int kills = Integer.getInteger("understudy.kills", 32);
    System.out.println("CrashTest seed " + seed + ", " + kills + " kills");
    SplittableRandom random = new SplittableRandom(seed);
    Guest guest = new Guest(CrashChild.PAGES);
    guest.create(directory, CrashChild.SETTINGS).close();
    int unacknowledged = 0;
    int withRedo = 0;
    int withPart = 0;
    for (int kill = 0; kill < kills; kill++) {
      long acknowledged = runAndKill(seed, guest.epoch, random);
      try (Stream<Path> files = Files.list(directory)) {
        List<String> names = files.map(file -> file.getFileName().toString()).toList();
        withPart += names.stream().anyMatch(name -> name.endsWith(".part")) ? 1 : 0;
        withRedo += names.stream().anyMatch(name -> name.matches("redo-\\d+")) ? 1 : 0;
      }
      try (StandbyImage image = Guest.open(directory, CrashChild.SETTINGS)) {
        assertTrue(
            image.epoch() == acknowledged || image.epoch() == acknowledged + 1,
            "epoch " + image.epoch() + " found, " + acknowledged + " acknowledged");
        unacknowledged += image.epoch() > acknowledged ? 1 : 0;
        while (guest.epoch < image.epoch()) {
          CrashChild.write(guest, seed, guest.epoch + 1, into(null));
        }
        guest.assertEqualTo(image.freeze());
        image.thaw();
        if (random.nextInt(4) == 0) {
          assertTrue(image.settle(LONG), () -> image.counts().toString());
          guest.assertEqualTo(image.freeze());
        }
      }
    }
    System.out.printf(
        "epoch %d after %d kills: %d with redo records, %d with an unfinished one, %d committed"
            + " before they said so%n",
        guest.epoch, kills, withRedo, withPart, unacknowledged);
  }

  /** Returns the last epoch that the child said it had committed. */
  private long runAndKill(long seed, long epoch, SplittableRandom random) throws Exception {
    Process child =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-cp",
                System.getProperty("java.class.path"),
                CrashChild.class.getName(),
                directory.toString(),
                Long.toString(seed))
            .redirectErrorStream(true)
            .start();
    try (BufferedReader lines = child.inputReader()) {
      long committed = epoch;
      int killAfter = random.nextInt(12);
      for (int line = 0; line <= killAfter; line++) {
        String said = lines.readLine();
        if (said == null || said.contains("Exception")) {
          throw new AssertionError("child: " + said + " " + lines.lines().toList());
        }
        committed = said.matches("\\d+") ? Long.parseLong(said) : committed;
      }
      // A moment inside the next epoch, fold or move, not at its border.
      long until = System.nanoTime() + random.nextLong(TimeUnit.MILLISECONDS.toNanos(15));
      while (System.nanoTime() < until) {
        Thread.onSpinWait();
      }
      child.toHandle().destroyForcibly(); // unlike the process's own, leaves its output readable
      child.waitFor();
      for (String said = lines.readLine(); said != null; said = lines.readLine()) {
        committed = said.matches("\\d+") ? Long.parseLong(said) : committed;
      }
      return committed;
    } finally {
      child.destroyForcibly().waitFor();
    }
  }

  /** A store whose file, after the power went at a sync, is what it was at the sync before. */
  private record ForgetfulStore(PageStore store, Path file, AtomicInteger syncsLeft)
      implements PageStore {
    @Override
    public long write(ByteBuffer content) throws IOException {
      return store.write(content);
    }

    @Override
    public void read(long place, ByteBuffer into) throws IOException {
      store.read(place, into);
    }

    @Override
    public void claim(long place) throws IOException {
      store.claim(place);
    }

    @Override
    public void free(long place) {
      store.free(place);
    }

    @Override
    public int bytes(long place) {
      return store.bytes(place);
    }

    @Override
    public void limitBytes(long bytes) {
      store.limitBytes(bytes);
    }

    @Override
    public long usedBytes() {
      return store.usedBytes();
    }

    @Override
    public long fileBytes() {
      return store.fileBytes();
    }

    @Override
    public void sync() throws IOException {
      if (syncsLeft.getAndDecrement() <= 0) {
        throw new IOException("the power is gone");
      }
      store.sync();
      Files.copy(file, synced(file), StandardCopyOption.REPLACE_EXISTING);
    }

    @Override
    public void close() throws IOException {
      store.close();
    }

    static Path synced(Path file) {
      return file.resolveSibling(file.getFileName() + ".synced");
    }
  }

  @Test
  void aPowerLossTakesOnlyWhatWasNotSynced() throws Exception {
    long seed = System.nanoTime();
    System.out.println("CrashTest.aPowerLossTakesOnlyWhatWasNotSynced seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    Guest guest = new Guest(300);
    TierSettings settings =
        new TierSettings(TierBudget.ofPercent(25), TierBudget.ofPercent(40), 4, 60);
    guest.create(directory, settings).close();
    List<Path> stores = List.of(directory.resolve("medium"), directory.resolve("slow"));
    int behind = 0;
    for (int loss = 0; loss < 40; loss++) {
      for (Path file : stores) {
        Files.copy(file, ForgetfulStore.synced(file), StandardCopyOption.REPLACE_EXISTING);
      }
      AtomicInteger syncsLeft = new AtomicInteger(random.nextInt(12));
      StandbyImage.Stores plain = Guest.stores(directory);
      StandbyImage image =
          StandbyImage.open(
              directory,
              settings,
              new RecencyFrequency(300),
              new StandbyImage.Stores(
                  new ForgetfulStore(plain.medium(), stores.get(0), syncsLeft),
                  new ForgetfulStore(plain.slow(), stores.get(1), syncsLeft)));
      guest.assertEqualTo(image.freeze());
      image.thaw();
      try {
        for (int i = random.nextInt(6); i > 0; i--) {
          Guest next = new Guest(guest);
          next.write(guest.epoch + 1, random.nextInt(200), random, image);
          image.commit();
          guest = next;
        }
      } catch (IOException e) {
        assertTrue(e.getMessage().contains("the power is gone"), e.getMessage());
      }
      image.close(); // at whatever step the commit thread is
      for (Path file : stores) {
        behind += Files.mismatch(file, ForgetfulStore.synced(file)) >= 0 ? 1 : 0;
        Files.move(ForgetfulStore.synced(file), file, StandardCopyOption.REPLACE_EXISTING);
      }
    }
    System.out.println(behind + " of 80 files lost something");
    assertTrue(behind > 10);
  }

  /** Every prefix of what a crash may leave of the last delta is the state before it. */
  @Test
  void aTornIndexIsCutAndADamagedOneIsRefused() throws Exception {
    Guest guest = new Guest(60);
    SplittableRandom random = new SplittableRandom(11);
    // Without moves nothing is written after the delta of epoch 2, as at the moment of its writing.
    TierSettings settings = new TierSettings(TierBudget.ofBytes(0), TierBudget.ofBytes(0), 4, 1);
    Path index = directory.resolve("index");
    try (StandbyImage image = guest.create(directory, settings)) {
      guest.write(1, 40, random, image);
      image.commit();
      assertTrue(image.settle(LONG));
    }
    long before = Files.size(index);
    Guest second = new Guest(guest);
    Path record = directory.resolve(RedoFormat.name(2));
    Path kept = directory.resolve("kept");
    RedoWriter writer = new RedoWriter(directory, guest.layout);
    writer.begin(2, 1);
    second.write(2, 40, random, into(writer));
    writer.finish();
    writer.publish().close();
    Files.copy(record, kept);
    try (StandbyImage image = Guest.open(directory, settings)) {
      assertTrue(image.settle(LONG));
      second.assertEqualTo(image.freeze());
    }
    byte[] whole = Files.readAllBytes(index);
    assertTrue(whole.length > before + 32);
    for (int cut = (int) before; cut <= whole.length; cut += 1 + random.nextInt(40)) {
      Files.write(index, java.util.Arrays.copyOf(whole, cut));
      Files.copy(kept, record, StandardCopyOption.REPLACE_EXISTING);
      try (StandbyImage again = Guest.open(directory, settings)) {
        second.assertEqualTo(again.freeze());
      }
    }
    Files.write(index, whole);
    try (StandbyImage again = Guest.open(directory, settings)) {
      second.assertEqualTo(again.freeze());
    }
    try (RandomAccessFile file = new RandomAccessFile(index.toFile(), "rw")) {
      file.seek(before - 10); // the first delta, with another behind it
      file.write(file.read() + 1);
    }
    IOException damaged =
        assertThrows(IOException.class, () -> Guest.open(directory, settings).close());
    assertTrue(damaged.getMessage().contains("is damaged: CRC32C of the"), damaged.getMessage());
  }

  @Test
  void damagedRecordsAndPagesAreRefusedWithTheirPlace() throws Exception {
    Guest guest = new Guest(60);
    TierSettings settings =
        new TierSettings(TierBudget.ofPercent(0), TierBudget.ofPercent(0), 4, 100);
    try (StandbyImage image = guest.create(directory, settings)) {
      guest.write(1, 90, new SplittableRandom(12), image);
      image.commit();
      assertTrue(image.settle(LONG));
    }
    Path record = directory.resolve(RedoFormat.name(2));
    Files.write(record, new byte[5000]);
    assertTrue(refusal(settings).contains("has no valid footer at 4952"));
    Files.write(record, new byte[50]);
    assertTrue(refusal(settings).contains("of 50 bytes is no redo record"));
    Files.delete(record);
    Path slow = directory.resolve("slow");
    byte[] pages = Files.readAllBytes(slow);
    pages[pages.length / 2] ^= 1;
    Files.write(slow, pages);
    try (StandbyImage image = Guest.open(directory, settings)) {
      IOException damage =
          assertThrows(IOException.class, () -> guest.assertEqualTo(image.freeze()));
      assertTrue(
          damage.getMessage().matches("page \\d+ in Slow at place.*|.*LZ4 block.*"),
          damage.getMessage());
    }
    Files.write(slow, new byte[100]);
    assertTrue(refusal(settings).contains("slow, 100 bytes"));
    assertEquals(1, guest.epoch);
  }

  /** The pages of an epoch into a record's writer, or nowhere; begin and end are the caller's. */
  private static EpochSink into(RedoWriter writer) {
    return new EpochSink() {
      @Override
      public void begin(long epoch) {}

      @Override
      public void page(int page, ByteBuffer content) throws IOException {
        if (writer != null) {
          writer.page(page, content);
        } else {
          content.position(content.position() + Pages.SIZE);
        }
      }

      @Override
      public void zeroPage(int page) {
        if (writer != null) {
          writer.zeroPage(page);
        }
      }

      @Override
      public void deviceState(ByteBuffer state) {
        if (writer != null) {
          writer.deviceState(state);
        }
      }

      @Override
      public void commit() {}

      @Override
      public void discard() {}
    };
  }

  private String refusal(TierSettings settings) {
    return assertThrows(IOException.class, () -> Guest.open(directory, settings).close())
        .getMessage();
  }
}
