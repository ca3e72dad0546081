package org.understudy.tier;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.guest.Pages;

class StandbyImageTest {
  private static final Duration LONG = Duration.ofSeconds(30);

  @TempDir Path directory;

  private static TierSettings settings(SplittableRandom random, int pages) {
    TierBudget fast =
        random.nextBoolean()
            ? TierBudget.ofPercent(random.nextInt(101))
            : TierBudget.ofBytes((long) random.nextInt(pages) * Pages.SIZE);
    TierBudget medium =
        random.nextBoolean()
            ? TierBudget.ofPercent(random.nextInt(101))
            : TierBudget.ofBytes((long) random.nextInt(pages) * Pages.SIZE);
    return new TierSettings(fast, medium, 1 + random.nextInt(6), 1 + random.nextInt(200));
  }

  /** Random histories against a plain array, with everything that may happen to an image. */
  @Test
  void isAlwaysTheLastCommittedEpoch() throws Exception {
    long seed = Long.getLong("understudy.seed", System.nanoTime());
    System.out.println("StandbyImageTest.isAlwaysTheLastCommittedEpoch seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    int reopened = 0;
    int rounds = Integer.getInteger("understudy.rounds", 12);
    for (int round = 0; round < rounds; round++) {
      Path home = directory.resolve("round" + round);
      Guest guest = new Guest(16 + random.nextInt(600));
      int pages = guest.ram.length;
      TierSettings settings = settings(random, pages);
      StandbyImage image = guest.create(home, settings);
      RecordingGuest fast = null;
      try {
        for (int step = 0; step < 40; step++) {
          switch (random.nextInt(12)) {
            case 0 -> {
              Guest unfinished = new Guest(guest);
              unfinished.write(guest.epoch + 1, random.nextInt(100), random, image);
              image.discard();
            }
            case 1 -> {
              new Guest(guest).write(guest.epoch + 2, random.nextInt(100), random, image);
              image.close();
              image = Guest.open(home, settings);
              fast = null;
              reopened++;
            }
            case 2 -> {
              if (fast != null) {
                image.detach();
                fast = null;
              }
            }
            case 3, 4 -> {
              if (fast == null) {
                fast = new RecordingGuest(pages);
                if (settings.fast().bytes() >= 0) {
                  fast.limit = settings.fast().pages(0);
                }
                image.attach(fast);
              }
            }
            case 5, 6 -> {
              if (random.nextBoolean()) {
                assertTrue(image.settle(LONG), () -> "settled");
              }
              CommittedImage frozen = image.freeze();
              guest.assertEqualTo(frozen);
              if (fast != null) {
                guest.assertFast(frozen, fast);
                assertTrue(
                    fast.present.cardinality() <= image.counts().fastLimitPages(),
                    image.counts()::toString);
              }
              image.thaw();
              assertThrows(IllegalStateException.class, () -> frozen.isZero(0));
            }
            default -> {
              guest.write(
                  guest.epoch + 1 + random.nextInt(3), random.nextInt(pages), random, image);
              image.commit();
              assertEquals(guest.epoch, image.epoch());
            }
          }
        }
        checkSettled(image, guest, settings, home);
      } finally {
        image.close();
      }
    }
    System.out.println("opened again " + reopened + " times");
  }

  private static void checkSettled(
      StandbyImage image, Guest guest, TierSettings settings, Path home) throws Exception {
    assertTrue(image.settle(LONG), () -> "settled: " + image.counts());
    TierCounts counts = image.counts();
    assertEquals(0, counts.redoPages());
    assertEquals(0, counts.backlogRecords());
    assertEquals(counts.pages(), counts.zeroPages() + counts.mediumPages() + counts.slowPages());
    int nonZero = counts.pages() - counts.zeroPages();
    assertTrue(counts.mediumPages() <= settings.medium().pages(nonZero), counts::toString);
    assertTrue(counts.trouble().isEmpty(), counts::toString);
    if (settings.medium().bytes() >= 0) {
      assertTrue(Files.size(home.resolve("medium")) <= settings.medium().bytes());
    }
    try (Stream<Path> files = Files.list(home)) {
      assertTrue(files.noneMatch(file -> file.getFileName().toString().startsWith("redo-")));
    }
    CommittedImage frozen = image.freeze();
    guest.assertEqualTo(frozen);
    long[] hashes = BlockHash.of(frozen);
    for (int block = 0; block < hashes.length; block++) {
      BlockHash hash = new BlockHash();
      for (int page = guest.layout.firstPage(block);
          page < guest.layout.firstPage(block + 1);
          page++) {
        hash.page(ByteBuffer.wrap(guest.ram[page]));
      }
      assertEquals(hash.value(), hashes[block], "block " + block);
    }
    image.thaw();
  }

  @Test
  void fastTakesTheHottestPagesAndNeverMoreThanItsBudget() throws Exception {
    Guest guest = new Guest(1000);
    TierSettings settings =
        new TierSettings(TierBudget.ofPercent(25), TierBudget.ofPercent(50), 4, 64);
    RecordingGuest fast = new RecordingGuest(1000);
    SplittableRandom random = new SplittableRandom(5);
    try (StandbyImage image = guest.create(directory, settings)) {
      image.attach(fast);
      byte[] page = new byte[Pages.SIZE];
      for (int epoch = 1; epoch <= 30; epoch++) {
        image.begin(epoch);
        guest.epoch = epoch;
        for (int i = 0; i < 1000; i++) {
          if (epoch == 1 ? i < 800 : i >= 300 && i < 400) {
            random.nextBytes(page);
            guest.ram[i] = page.clone();
            image.page(i, ByteBuffer.wrap(page));
          }
        }
        guest.device = new byte[] {1};
        image.deviceState(ByteBuffer.wrap(guest.device));
        image.commit();
      }
      assertTrue(image.settle(LONG));
      CommittedImage frozen = image.freeze();
      guest.assertEqualTo(frozen);
      guest.assertFast(frozen, fast);
      assertEquals(200, fast.present.cardinality());
      assertEquals(400, fast.present.nextClearBit(300), "the hot pages are in Fast");
      assertEquals(200, fast.most);
      assertEquals(400, image.counts().mediumPages(), 25);
      // A page that gets zero leaves Fast, and 25 % are fewer pages then.
      image.thaw();
      image.begin(31);
      guest.epoch = 31;
      for (int i = 300; i < 700; i++) {
        guest.ram[i] = Guest.ZERO;
        image.zeroPage(i);
      }
      image.deviceState(ByteBuffer.wrap(guest.device));
      image.commit();
      CommittedImage fewer = image.freeze();
      guest.assertFast(fewer, fast);
      assertEquals(100, fast.present.cardinality());
    }
  }

  /** With one move a plan, a page that may not enter a full Fast must not keep the thread busy. */
  @Test
  void aFullFastComesToRestWhateverTheBoundOfMoves() throws Exception {
    for (int moves : new int[] {1, 2, 16, 17}) {
      Guest guest = new Guest(200);
      SplittableRandom random = new SplittableRandom(10);
      TierSettings settings =
          new TierSettings(TierBudget.ofPercent(73), TierBudget.ofPercent(10), 4, moves);
      try (StandbyImage image = guest.create(directory.resolve("moves" + moves), settings)) {
        image.attach(new RecordingGuest(200));
        for (int epoch = 1; epoch <= 12; epoch++) {
          guest.write(epoch, 100, random, image);
          image.commit();
          assertTrue(image.settle(LONG), image.counts()::toString);
        }
        assertTrue(image.counts().fastPages() > 0);
      }
    }
  }

  @Test
  void aGuestThatDiesEmptiesFastAndTheNextOneIsRefilled() throws Exception {
    Guest guest = new Guest(400);
    SplittableRandom random = new SplittableRandom(6);
    try (StandbyImage image = guest.create(directory, TierSettings.DEFAULT)) {
      guest.write(1, 900, random, image);
      image.commit();
      RecordingGuest dying = new RecordingGuest(400);
      dying.placesUntilDeath = 20;
      image.attach(dying);
      assertTrue(image.settle(LONG));
      assertFalse(image.counts().fastAttached());
      assertEquals(0, image.counts().fastPages());
      assertEquals(1, image.counts().moves().fastLosses());
      RecordingGuest next = new RecordingGuest(400);
      image.attach(next);
      assertThrows(IllegalStateException.class, () -> image.attach(dying));
      assertTrue(image.settle(LONG));
      assertEquals(image.counts().fastLimitPages(), next.present.cardinality());
      CommittedImage frozen = image.freeze();
      guest.assertFast(frozen, next);
      // The guest dies in the promotion: the same image can be promoted again, from disk.
      image.detach();
      assertTrue(frozen.fastPages().isEmpty());
      guest.assertEqualTo(frozen);
    }
  }

  @Test
  void freezeRefusesTheUnfinishedEpochAndThoseBegunBefore() throws Exception {
    Guest guest = new Guest(100);
    SplittableRandom random = new SplittableRandom(7);
    try (StandbyImage image = guest.create(directory, TierSettings.DEFAULT)) {
      guest.write(1, 50, random, image);
      image.commit();
      new Guest(guest).write(2, 50, random, image);
      CommittedImage frozen = image.freeze();
      IOException refusal = assertThrows(IOException.class, image::commit);
      assertEquals(
          "epoch 2 is discarded, epoch 1 stays committed: the image was frozen at epoch 1",
          refusal.getMessage());
      assertThrows(IOException.class, () -> image.begin(2));
      assertThrows(IllegalStateException.class, image::freeze);
      guest.assertEqualTo(frozen);
      image.thaw();
      assertThrows(IllegalStateException.class, () -> image.zeroPage(1));
      image.begin(2);
      image.freeze();
      image.thaw();
      assertThrows(IOException.class, () -> image.zeroPage(1));
      guest.write(2, 50, random, image);
      image.commit();
      guest.assertEqualTo(image.freeze());
    }
  }

  @Test
  void wrongCallsAreRefusedWithTheirNumbers() throws Exception {
    Guest guest = new Guest(100);
    try (StandbyImage image = guest.create(directory, TierSettings.DEFAULT)) {
      assertThrows(IllegalStateException.class, image::commit);
      image.discard();
      image.begin(3);
      assertThrows(IndexOutOfBoundsException.class, () -> image.zeroPage(100));
      assertThrows(IndexOutOfBoundsException.class, () -> image.zeroPage(-1));
      IOException refusal = assertThrows(IOException.class, image::commit);
      assertEquals(
          "epoch 3 is discarded, epoch 0 stays committed: no device state came with it",
          refusal.getMessage());
      image.begin(3);
      image.deviceState(ByteBuffer.allocate(10));
      image.commit();
      assertThrows(IllegalArgumentException.class, () -> image.begin(3));
      IOException inUse =
          assertThrows(
              IOException.class, () -> Guest.open(directory, TierSettings.DEFAULT).close());
      assertEquals(directory + " is in use by another daemon", inUse.getMessage());
      assertThrows(IOException.class, () -> guest.create(directory, TierSettings.DEFAULT));
    }
  }

  @Test
  void anInterruptedReaderDoesNotCloseTheStores() throws Exception {
    Guest guest = new Guest(100);
    try (StandbyImage image = guest.create(directory, TierSettings.DEFAULT)) {
      guest.write(1, 300, new SplittableRandom(8), image);
      image.commit();
      assertTrue(image.settle(LONG));
      CommittedImage frozen = image.freeze();
      Thread.currentThread().interrupt();
      guest.assertEqualTo(frozen);
      assertTrue(Thread.interrupted(), "the interrupt is kept");
      guest.assertEqualTo(frozen);
    }
  }

  @Test
  void severalThreadsReadTheFrozenImage() throws Exception {
    Guest guest = new Guest(500);
    try (StandbyImage image = guest.create(directory, TierSettings.DEFAULT)) {
      guest.write(1, 1500, new SplittableRandom(9), image);
      image.commit();
      CommittedImage frozen = image.freeze();
      long[] expected = BlockHash.of(frozen);
      long[][] found = new long[6][];
      Thread[] readers = new Thread[found.length];
      for (int i = 0; i < readers.length; i++) {
        int number = i;
        readers[i] =
            new Thread(
                () -> {
                  try {
                    found[number] = BlockHash.of(frozen);
                  } catch (IOException e) {
                    throw new java.io.UncheckedIOException(e);
                  }
                });
        readers[i].start();
      }
      for (int i = 0; i < readers.length; i++) {
        readers[i].join();
        assertArrayEquals(expected, found[i]);
      }
    }
  }

  @Test
  void theIndexCostsAtMostSixteenBytesAPage() {
    for (int pages : new int[] {1000, 131_072, 2_097_152}) {
      PageIndex index = new PageIndex(pages);
      long bytes = 8L * index.location.length + 4L * index.check.length + 3L * (pages / 8 + 8);
      assertTrue(PageIndex.bytes(pages) <= bytes && bytes <= 16L * pages, pages + ": " + bytes);
    }
    // The fields themselves: two arrays and three sets, so that a new one cannot slip in unseen.
    long perPage =
        Stream.of(PageIndex.class.getDeclaredFields())
            .filter(field -> !field.getName().equals("byKind"))
            .mapToLong(
                field ->
                    switch (field.getType().getSimpleName()) {
                      case "long[]" -> 64;
                      case "int[]" -> 32;
                      case "PageSet" -> 1;
                      case "int" -> 0;
                      default -> throw new AssertionError("unknown cost of " + field);
                    })
            .sum();
    assertEquals(99, perPage, "bits a page");
  }
}
