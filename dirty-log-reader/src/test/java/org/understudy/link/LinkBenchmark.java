package org.understudy.link;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.understudy.guest.EpochSink;
import org.understudy.guest.Pages;

/**
 * Milliseconds to encode, and to decode, an epoch of 4096 pages (16 MiB) through a file in the page
 * cache. Run by {@code java -cp TEST_CLASSPATH org.openjdk.jmh.Main LinkBenchmark}.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class LinkBenchmark implements EpochSink {
  private static final int PAGES = 4096;

  /** What the pages hold. */
  public enum Content {
    /** Three eighths noise, the rest one number: LZ4 makes 16.0 MiB 8.4 MiB. */
    GUEST_LIKE,
    /** Nothing that LZ4 could use. */
    RANDOM,
    /** Given as zero pages. */
    ZERO
  }

  /** What the pages hold. */
  @Param public Content content;

  private final ByteBuffer pages = ByteBuffer.allocateDirect(PAGES * Pages.SIZE);
  private Path file;
  private FileChannel out;
  private FileChannel in;
  private EpochEncoder encoder;
  private EpochDecoder decoder;
  private long seen;
  private long sum;

  /** Makes the pages and one epoch in the file. */
  @Setup
  public void open() throws IOException {
    SplittableRandom random = new SplittableRandom(42);
    for (int at = 0; at < pages.capacity(); at += 8) {
      boolean noise = content == Content.RANDOM || at % 64 < 24;
      pages.putLong(at, noise ? random.nextLong() : at / 4096);
    }
    file = Files.createTempFile("link", ".epochs");
    out = FileChannel.open(file, StandardOpenOption.WRITE);
    in = FileChannel.open(file, StandardOpenOption.READ);
    encoder = new EpochEncoder(out, PAGES);
    encode();
    System.out.printf("%s: %d bytes of %d%n", content, out.position(), pages.capacity());
  }

  /** Removes the file. */
  @TearDown
  public void close() throws IOException {
    out.close();
    in.close();
    Files.delete(file);
  }

  /** An epoch into the file. */
  @Benchmark
  public long encode() throws IOException {
    out.position(0);
    encoder.begin(1);
    for (int page = 0; page < PAGES; page++) {
      if (content == Content.ZERO) {
        encoder.zeroPage(page);
      } else {
        encoder.page(page, pages.position(page * Pages.SIZE));
      }
    }
    encoder.deviceState(pages.position(0).limit(65_536));
    pages.limit(pages.capacity());
    encoder.commit();
    return out.position();
  }

  /** The epoch from the file, each page looked at once. */
  @Benchmark
  public long decode() throws IOException {
    in.position(0);
    decoder = new EpochDecoder(in, PAGES, 0, this);
    decoder.next();
    if (seen != PAGES) {
      throw new IllegalStateException(seen + " pages");
    }
    return sum;
  }

  @Override
  public void begin(long epoch) {
    seen = 0;
  }

  @Override
  public void page(int page, ByteBuffer bytes) {
    seen++;
    sum += bytes.getLong(bytes.position());
  }

  @Override
  public void zeroPage(int page) {
    seen++;
  }

  @Override
  public void deviceState(ByteBuffer state) {
    sum += state.remaining();
  }

  @Override
  public void commit() {}

  @Override
  public void discard() {}
}
