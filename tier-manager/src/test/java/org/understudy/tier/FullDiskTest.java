package org.understudy.tier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FullDiskTest {
  private static final Duration LONG = Duration.ofSeconds(30);

  @TempDir Path directory;
  private Path disk;

  @BeforeEach
  void mount() throws Exception {
    disk = Files.createDirectory(directory.resolve("disk"));
    boolean root = "root".equals(System.getProperty("user.name"));
    assumeTrue(
        root && run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk.toString()) == 0,
        "no right to mount a small tmpfs");
  }

  @AfterEach
  void unmount() throws Exception {
    run("umount", disk.toString());
  }

  private static int run(String... command) throws Exception {
    return new ProcessBuilder(command).inheritIO().start().waitFor();
  }

  @Test
  void aFullDiskKeepsTheCommittedEpochAndRoomBringsCommitsBack() throws Exception {
    long seed = System.nanoTime();
    System.out.println("FullDiskTest seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    Guest guest = new Guest(1500);
    TierSettings settings =
        new TierSettings(TierBudget.ofPercent(20), TierBudget.ofPercent(50), 4, 500);
    Path home = disk.resolve("guest");
    StandbyImage image = guest.create(home, settings);
    try {
      int refusals = 0;
      int commits = 0;
      for (int i = 0; i < 60; i++) {
        Guest next = new Guest(guest);
        try {
          next.write(guest.epoch + 1, 50 + random.nextInt(400), random, image);
          image.commit();
          guest = next;
          commits++;
        } catch (IOException e) {
          refusals++;
          String expected =
              "epoch "
                  + (guest.epoch + 1)
                  + " is discarded, epoch "
                  + guest.epoch
                  + " stays committed";
          assertTrue(e.getMessage().startsWith(expected), e.getMessage());
          assertTrue(e.getMessage().contains("No space left on device"), e.getMessage());
          assertEquals(guest.epoch, image.epoch());
          guest.assertEqualTo(image.freeze());
          image.thaw();
        }
        if (i % 20 == 19) {
          image.close();
          image = Guest.open(home, settings);
          guest.assertEqualTo(image.freeze());
          image.thaw();
        }
      }
      System.out.println(commits + " commits, " + refusals + " refused for the full disk");
      assertTrue(refusals > 0 && commits > 0);
      assertEquals(0, run("mount", "-o", "remount,size=64m", disk.toString()));
      for (int i = 0; i < 10; i++) {
        commitWhenFolded(image, guest, random);
      }
      assertTrue(image.settle(LONG), image.counts()::toString);
      assertTrue(image.counts().trouble().isEmpty(), image.counts()::toString);
      guest.assertEqualTo(image.freeze());
    } finally {
      image.close();
    }
  }

  /** The folding notices the room by itself, within its interval. */
  private static void commitWhenFolded(StandbyImage image, Guest guest, SplittableRandom random)
      throws Exception {
    assertTrue(image.settle(LONG), image.counts()::toString);
    guest.write(guest.epoch + 1, 400, random, image);
    image.commit();
  }
}
