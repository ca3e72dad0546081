package org.understudy.capture;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.GuestImages.Qemu;

/**
 * A guest of 512 bytes: a boot sector that goes to protected mode and increments the first word of
 * {@code pages} pages from 2 MiB on, in order, for ever. At any instant the words fall by at most
 * one from the first page to the last, so memory of two instants shows.
 */
final class WritingGuest {
  static final long FIRST_ADDRESS = 0x200000;

  /** Assembled from: lgdt, protected mode, a loop of inc, add, dec, and an idle loop. */
  private static final String CODE =
      "fa31c08ed8660f0116587c0f20c00c01"
          + "0f22c066ea1b7c0000080066b810008e"
          + "d8bb00002000b944332211ff0381c300"
          + "1000004975f5b988776655e3e449ebfb"
          + "0000000000000000ffff0000009acf00"
          + "ffff00000092cf001700407c0000";

  private static final int PAGES_AT = 0x27;
  private static final int IDLE_AT = 0x37;

  private WritingGuest() {}

  /**
   * Boots it.
   *
   * @param pages pages written in each pass
   * @param idle iterations of an idle loop after each pass
   */
  static TestGuest start(Path folder, int pages, int idle, String... arguments) throws IOException {
    return start(GuestImages.defaultQemu(), folder, pages, idle, arguments);
  }

  static TestGuest start(Qemu qemu, Path folder, int pages, int idle, String... arguments)
      throws IOException {
    ByteBuffer sector = ByteBuffer.allocate(1440 << 10).order(ByteOrder.LITTLE_ENDIAN);
    sector.put(HexFormat.of().parseHex(CODE));
    sector.putInt(PAGES_AT, pages).putInt(IDLE_AT, idle).putShort(510, (short) 0xaa55);
    Path floppy = folder.resolve("boot.img");
    Files.write(floppy, sector.array());
    List<String> line = new ArrayList<>(List.of(arguments));
    line.addAll(List.of("-drive", "if=floppy,format=raw,readonly=on,file=" + floppy, "-boot", "a"));
    TestGuest guest = new TestGuest(qemu, folder, line.toArray(new String[0]));
    awaitWriting(guest, pages);
    return guest;
  }

  /** The word that the guest keeps in page {@code page} of its area, in an image of pc.ram. */
  static int word(ByteBuffer image, int page) {
    return image.getInt((int) FIRST_ADDRESS + page * 4096);
  }

  private static void awaitWriting(TestGuest guest, int pages) throws IOException {
    long last = FIRST_ADDRESS + (pages - 1) * 4096L;
    long deadline = System.nanoTime() + 20_000_000_000L;
    while (guest
        .monitor
        .humanCommand("xp /1wx 0x" + Long.toHexString(last))
        .contains("0x00000000")) {
      if (System.nanoTime() > deadline) {
        guest.close();
        throw new IOException("the guest writes nothing");
      }
    }
  }
}
