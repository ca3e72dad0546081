package org.understudy.tier;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Comparator;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.understudy.guest.Pages;

/** Measures one image of a 512 MiB guest in a directory; prints what it finds. */
final class TierBench {
  private static final int PAGES = 131_072;
  private static final Duration LONG = Duration.ofMinutes(2);

  private final SplittableRandom random = new SplittableRandom(1);
  private final ByteBuffer content = ByteBuffer.allocateDirect(Pages.SIZE);
  private final ByteBuffer state = ByteBuffer.allocateDirect(100 << 10);

  private TierBench() {}

  /** Argument: a directory on the disk to measure; a folder is made and removed in it. */
  public static void main(String[] args) throws Exception {
    Path home = Files.createTempDirectory(Path.of(args[0]), "tier-bench");
    try {
      new TierBench().run(home);
    } finally {
      try (Stream<Path> files = Files.walk(home)) {
        for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(file);
        }
      }
    }
  }

  private void run(Path home) throws Exception {
    Guest guest = new Guest(PAGES);
    try (StandbyImage image = guest.create(home, TierSettings.DEFAULT)) {
      image.attach(new Discarding());
      long start = System.nanoTime();
      epoch(image, 0, PAGES, false);
      System.out.printf("initial copy of %d pages: commit %.0f ms", PAGES, ms(start));
      settled(image);
      System.out.printf(", folded and placed after %.0f ms%n", ms(start));
      for (int pages : new int[] {2_000, 16_000}) {
        lone(image, pages);
        sustained(image, pages);
      }
      freezes(image);
      reads(image);
      System.out.println(image.counts());
    }
  }

  /** Half of the pages are a quarter text-like bytes, the others random in three quarters. */
  private void epoch(StandbyImage image, int from, int pages, boolean scattered) throws Exception {
    image.begin(image.epoch() + 1);
    for (int i = 0; i < pages; i++) {
      int used = (i & 1) == 0 ? 1024 : 3072;
      for (int at = 0; at < used; at += 8) {
        content.putLong(at, random.nextLong());
      }
      for (int at = used; at < Pages.SIZE; at += 8) {
        content.putLong(at, 0x2020_2020_2020_2020L);
      }
      image.page(scattered ? random.nextInt(PAGES) : from + i, content.clear());
    }
    image.deviceState(state.clear());
    image.commit();
  }

  private static void settled(StandbyImage image) throws Exception {
    if (!image.settle(LONG)) {
      throw new IllegalStateException("not settled: " + image.counts());
    }
  }

  private void lone(StandbyImage image, int pages) throws Exception {
    double[] tookMs = new double[9];
    for (int i = 0; i < tookMs.length; i++) {
      settled(image);
      long start = System.nanoTime();
      epoch(image, random.nextInt(PAGES - pages), pages, false);
      tookMs[i] = ms(start);
    }
    Arrays.sort(tookMs);
    System.out.printf(
        "%d pages, nothing else to do: %.1f ms from begin to durable (median of 9), %.0f MB/s%n",
        pages, tookMs[4], pages * 4.096 / tookMs[4]);
  }

  private void sustained(StandbyImage image, int pages) throws Exception {
    settled(image);
    long stalls = image.counts().moves().stalls();
    long start = System.nanoTime();
    Duration cpu = ProcessHandle.current().info().totalCpuDuration().orElseThrow();
    int epochs = 0;
    while (ms(start) < 8_000) {
      epoch(image, 0, pages, true);
      epochs++;
    }
    double seconds = ms(start) / 1000;
    settled(image);
    cpu = ProcessHandle.current().info().totalCpuDuration().orElseThrow().minus(cpu);
    System.out.printf(
        "%d scattered pages, back to back: %.1f epochs/s, %.0f MB/s, %d of %d commits waited;"
            + " processor time %.1f us a page, moves and making the pages up included%n",
        pages,
        epochs / seconds,
        epochs * (pages * 4.096e-3) / seconds,
        image.counts().moves().stalls() - stalls,
        epochs,
        cpu.toNanos() / 1e3 / epochs / pages);
  }

  private void freezes(StandbyImage image) throws Exception {
    settled(image);
    double[] idleMs = new double[200];
    for (int i = 0; i < idleMs.length; i++) {
      long start = System.nanoTime();
      image.freeze();
      idleMs[i] = ms(start);
      image.thaw(); // the next one meets the plan and the moves that this starts
    }
    double[] busyMs = new double[15];
    for (int i = 0; i < busyMs.length; i++) {
      settled(image);
      epoch(image, 0, 2_000, true);
      long start = System.nanoTime();
      image.freeze();
      busyMs[i] = ms(start);
      image.thaw();
    }
    Arrays.sort(idleMs);
    Arrays.sort(busyMs);
    System.out.printf(
        "freeze: no backlog median %.3f ms, longest of 200 %.3f ms; right after a commit of 2000"
            + " pages median %.2f ms, longest of 15 %.2f ms%n",
        idleMs[100], idleMs[199], busyMs[7], busyMs[14]);
  }

  private void reads(StandbyImage image) throws Exception {
    settled(image);
    CommittedImage frozen = image.freeze();
    PageStoreReads medium = new PageStoreReads(image, Location.MEDIUM);
    PageStoreReads slow = new PageStoreReads(image, Location.SLOW);
    for (int round = 0; round < 2; round++) {
      medium.read(frozen);
      slow.read(frozen);
    }
    System.out.printf(
        "read and check a page, page cache warm: Medium %.1f us, Slow %.1f us%n",
        medium.microseconds, slow.microseconds);
    long start = System.nanoTime();
    BlockHash.of(frozen);
    System.out.printf("hash of all %d pages: %.0f ms%n", PAGES, ms(start));
    image.thaw();
  }

  /** Reads up to 20,000 random pages of one store. */
  private static final class PageStoreReads {
    private final int[] pages;
    private final ByteBuffer into = ByteBuffer.allocateDirect(Pages.SIZE);
    private double microseconds;

    PageStoreReads(StandbyImage image, int kind) {
      int[] all = image.pagesOf(kind);
      SplittableRandom random = new SplittableRandom(2);
      pages =
          random
              .ints(Math.min(20_000, all.length), 0, Math.max(1, all.length))
              .map(i -> all[i])
              .toArray();
    }

    void read(CommittedImage image) throws Exception {
      long start = System.nanoTime();
      for (int page : pages) {
        image.read(page, into.clear());
      }
      microseconds = ms(start) * 1000 / pages.length;
    }
  }

  private static double ms(long startNs) {
    return (System.nanoTime() - startNs) / 1e6;
  }

  /** Costs nothing, so that the tiers are what is measured. */
  private static final class Discarding implements FastTier {
    @Override
    public void place(int page, ByteBuffer content) {}

    @Override
    public void discard(int from, int to) {}

    @Override
    public void flush() {}
  }
}
