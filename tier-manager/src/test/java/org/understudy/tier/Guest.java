package org.understudy.tier;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.guest.RamBlock;
import org.understudy.medium.MediumFile;
import org.understudy.slow.SlowFile;

/** A guest of a few blocks whose RAM is an array of pages: what an image must be equal to. */
final class Guest {
  static final byte[] ZERO = new byte[Pages.SIZE];

  final GuestLayout layout;
  final byte[][] ram; // by page
  byte[] device = {};
  long epoch;

  Guest(int pages) {
    layout =
        new GuestLayout(
            List.of(
                new RamBlock("pc.ram", (long) (pages - 5) * Pages.SIZE),
                new RamBlock("vga.vram", 4L * Pages.SIZE),
                new RamBlock("/rom@etc/acpi/tables", Pages.SIZE)));
    ram = new byte[pages][];
    Arrays.fill(ram, ZERO);
  }

  Guest(Guest other) {
    layout = other.layout;
    ram = other.ram.clone();
    device = other.device;
    epoch = other.epoch;
  }

  /** A page that is zero, compressible, or random. */
  static byte[] content(SplittableRandom random) {
    int what = random.nextInt(8);
    if (what == 0) {
      return ZERO;
    }
    byte[] page = new byte[Pages.SIZE];
    if (what < 3) {
      random.nextBytes(page);
    } else {
      int used = 1 + random.nextInt(Pages.SIZE);
      for (int i = 0; i < used; i += 1 + random.nextInt(9)) {
        page[i] = (byte) random.nextInt(1, 5);
      }
      page[random.nextInt(Pages.SIZE)] = 7;
    }
    return page;
  }

  /** Changes pages here and gives the same changes to the sink, up to the device state. */
  void write(long number, int changes, SplittableRandom random, EpochSink sink) throws IOException {
    sink.begin(number);
    epoch = number;
    ByteBuffer buffer = ByteBuffer.allocateDirect(Pages.SIZE + 64);
    int hot = 1 + ram.length / 8;
    for (int i = 0; i < changes; i++) {
      int page = random.nextInt(random.nextInt(3) == 0 ? ram.length : hot);
      ram[page] = content(random);
      if (ram[page] == ZERO && random.nextBoolean()) {
        sink.zeroPage(page);
      } else {
        buffer.clear().position(random.nextInt(64));
        int start = buffer.position();
        sink.page(page, buffer.put(ram[page]).position(start));
        assertEquals(start + Pages.SIZE, buffer.position(), "consumed");
      }
    }
    device = new byte[random.nextInt(3000)];
    random.nextBytes(device);
    sink.deviceState(ByteBuffer.wrap(device));
  }

  void assertEqualTo(CommittedImage image) throws IOException {
    assertEquals(epoch, image.epoch());
    assertEquals(layout, image.layout());
    ByteBuffer buffer = ByteBuffer.allocateDirect(Pages.SIZE);
    byte[] found = new byte[Pages.SIZE];
    for (int page = 0; page < ram.length; page++) {
      image.read(page, buffer.clear());
      assertEquals(Pages.SIZE, buffer.position());
      buffer.get(0, found);
      if (!Arrays.equals(ram[page], found)) {
        assertArrayEquals(ram[page], found, "page " + page + " of epoch " + epoch);
      }
      assertEquals(Arrays.equals(ram[page], ZERO), image.isZero(page), "page " + page);
    }
    byte[] state = new byte[image.deviceState().remaining()];
    image.deviceState().get(state);
    assertArrayEquals(device, state);
  }

  /** What lies in Fast is what the image says, with its content, and flushed. */
  void assertFast(CommittedImage image, RecordingGuest fast) {
    PageSet expected = new PageSet(ram.length);
    fast.present.stream().forEach(expected::add);
    assertEquals(expected, image.fastPages());
    assertTrue(fast.flushed, "flushed");
    fast.present.stream()
        .forEach(page -> assertArrayEquals(ram[page], fast.ram[page], "page " + page + " in Fast"));
  }

  static StandbyImage.Stores stores(Path directory) throws IOException {
    return new StandbyImage.Stores(
        new MediumFile(directory.resolve("medium")), new SlowFile(directory.resolve("slow")));
  }

  StandbyImage create(Path directory, TierSettings settings) throws IOException {
    java.nio.file.Files.createDirectories(directory);
    return StandbyImage.create(
        directory, layout, settings, new RecencyFrequency(ram.length), stores(directory));
  }

  static StandbyImage open(Path directory, TierSettings settings) throws IOException {
    int pages = StandbyImage.layoutOf(directory).pages();
    return StandbyImage.open(directory, settings, new RecencyFrequency(pages), stores(directory));
  }
}
