package org.understudy.tier;

import java.nio.file.Path;
import java.util.SplittableRandom;

/** Commits epochs that follow from a seed until it is killed; prints each number once committed. */
final class CrashChild {
  static final int PAGES = 700;
  static final TierSettings SETTINGS =
      new TierSettings(TierBudget.ofPercent(25), TierBudget.ofPercent(40), 3, 100);

  private CrashChild() {}

  /** Changes the guest as epoch {@code epoch} does. */
  static void write(Guest guest, long seed, long epoch, org.understudy.guest.EpochSink sink)
      throws java.io.IOException {
    SplittableRandom random = new SplittableRandom(seed * 31 + epoch);
    guest.write(epoch, random.nextInt(400), random, sink);
  }

  /** Arguments: directory, seed. */
  public static void main(String[] args) throws Exception {
    Path directory = Path.of(args[0]);
    long seed = Long.parseLong(args[1]);
    Guest guest = new Guest(PAGES);
    try (StandbyImage image = Guest.open(directory, SETTINGS)) {
      image.attach(new RecordingGuest(PAGES));
      System.out.println("open " + image.epoch());
      for (long epoch = image.epoch() + 1; ; epoch++) {
        write(guest, seed, epoch, image);
        image.commit();
        System.out.println(epoch);
      }
    }
  }
}
