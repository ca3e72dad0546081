package org.understudy.qemustream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.RamBlock;

/** What is written, read by another reader that knows only numbers of the format. */
class StreamTest {
  private static final GuestLayout LAYOUT =
      new GuestLayout(
          List.of(
              new RamBlock("pc.ram", 300 * 4096),
              new RamBlock("vga.vram", 20 * 4096),
              new RamBlock("0000:00:02.0/virtio-net-pci.rom", 4096)));

  /** Reads a stream into one line for each thing in it. */
  private static List<String> parse(ByteBuffer stream) throws IOException {
    byte[] bytes = new byte[stream.remaining()];
    stream.get(bytes);
    DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes));
    List<String> found = new ArrayList<>();
    String block = null;
    while (in.available() > 0) {
      int type = in.readUnsignedByte();
      switch (type) {
        case 0 -> found.add("eof");
        case 1 -> {
          int id = in.readInt();
          found.add("start " + name(in) + " " + in.readInt() + " v" + in.readInt());
          long total = in.readLong();
          assertEquals(4, total & 0xfff);
          for (long left = total & ~0xfffL; left > 0; ) {
            String name = name(in);
            long length = in.readLong();
            found.add("block " + name + " " + length);
            left -= length;
            assertTrue(left >= 0);
          }
          assertEquals(0x10, in.readLong());
          footer(in, id);
        }
        case 2 -> {
          int id = in.readInt();
          for (long entry = in.readLong(); entry != 0x10; entry = in.readLong()) {
            int flags = (int) (entry & 0xfff);
            if ((flags & 0x20) == 0) {
              block = name(in);
            }
            String what =
                switch (flags & ~0x20) {
                  case 0x02 -> "fill " + in.readUnsignedByte();
                  case 0x08 -> {
                    long first = in.readLong();
                    for (int i = 1; i < 512; i++) {
                      assertEquals(first + i, in.readLong());
                    }
                    yield "page " + first;
                  }
                  default -> throw new IOException("flags 0x" + Integer.toHexString(flags));
                };
            found.add(block + " " + (entry & ~0xfffL) + " " + what);
          }
          footer(in, id);
        }
        case 7 -> {
          byte[] name = in.readNBytes(in.readInt());
          found.add("machine " + new String(name, StandardCharsets.US_ASCII));
        }
        case 8 -> {
          int number = in.readUnsignedShort();
          byte[] data = in.readNBytes(in.readUnsignedShort());
          DataInputStream content = new DataInputStream(new ByteArrayInputStream(data));
          if (number == 6) {
            assertEquals(0, content.readUnsignedByte());
            String name = name(content);
            assertEquals(0, content.readUnsignedByte());
            while (content.available() > 0) {
              found.add("discard " + name + " " + content.readLong() + " " + content.readLong());
            }
          } else if (number == 7) {
            byte[] packaged = in.readNBytes(content.readInt());
            found.add("package " + packaged.length);
            found.add("command " + packaged[2] + " " + packaged[4]);
            found.add("then " + packaged[5]);
            found.add("last " + packaged[packaged.length - 3]);
          } else {
            found.add("command " + number + " " + java.util.HexFormat.of().formatHex(data));
          }
        }
        case 0x51 -> {
          assertEquals(0x45564d, in.readUnsignedShort() << 8 | in.readUnsignedByte());
          found.add("version " + in.readInt());
        }
        default -> throw new IOException("type " + type);
      }
    }
    return found;
  }

  private static String name(DataInputStream in) throws IOException {
    return new String(in.readNBytes(in.readUnsignedByte()), StandardCharsets.UTF_8);
  }

  private static void footer(DataInputStream in, int id) throws IOException {
    assertEquals(0x7e, in.readUnsignedByte());
    assertEquals(id, in.readInt());
  }

  @Test
  void theBeginningIsReadAsItWasMeant() throws IOException {
    ByteBuffer out = ByteBuffer.allocate(1000);
    Savevm.header(out, "pc-q35-7.2");
    Savevm.command(out, Savevm.MIG_CMD_OPEN_RETURN_PATH);
    Savevm.postcopyAdvise(out, 4096, 4096);
    int before = out.position();
    Ram.sectionStart(out, LAYOUT);
    assertEquals(Ram.sectionStartBytes(LAYOUT), out.position() - before);
    PostcopyRam.discard(out, Ram.names(LAYOUT)[0], 0, 4096);
    Savevm.ping(out, 0x1234);
    out.put(Savevm.QEMU_VM_EOF);
    assertEquals(
        List.of(
            "version 3",
            "machine pc-q35-7.2",
            "command 1 ",
            "command 3 00000000000010000000000000001000",
            "start ram 0 v4",
            "block pc.ram " + 300 * 4096,
            "block vga.vram " + 20 * 4096,
            "block 0000:00:02.0/virtio-net-pci.rom 4096",
            "discard pc.ram 0 4096",
            "command 2 00001234",
            "eof"),
        parse(out.flip()));
  }

  @Test
  void aPackageHasListenThenTheDevicesThenRun() throws IOException {
    ByteBuffer state = ByteBuffer.allocate(40);
    state.putInt(0x5145564d).putInt(3).put((byte) 4).position(39).put((byte) 0).flip();
    ByteBuffer sections = Savevm.deviceSections(state);
    assertEquals(31, sections.remaining());
    ByteBuffer out = ByteBuffer.allocate(200);
    Savevm.packageHead(out, sections.remaining());
    out.put(sections);
    Savevm.packageTail(out, 9);
    assertEquals(Savevm.PACKAGE_FRAME_BYTES + 31, out.position());
    assertEquals(
        List.of("package " + (5 + 31 + 9 + 5), "command 4 0", "then 4", "last 5"),
        parse(out.flip()));
  }

  @Test
  void aDeviceStateThatIsNotWholeIsRefused() {
    byte[] good = ByteBuffer.allocate(20).putInt(0x5145564d).putInt(3).put((byte) 4).array();
    for (int bytes : new int[] {0, 1, 8, 9}) {
      IOException refused =
          assertThrows(
              IOException.class, () -> Savevm.deviceSections(ByteBuffer.wrap(good, 0, bytes)));
      assertTrue(refused.getMessage().contains(bytes + " bytes"), refused.getMessage());
    }
    for (int at : new int[] {0, 7, 8, 19}) {
      byte[] bad = good.clone();
      bad[at] ^= 1;
      assertThrows(IOException.class, () -> Savevm.deviceSections(ByteBuffer.wrap(bad)));
    }
  }

  @Test
  void randomPartsAreReadPageByPage() throws IOException {
    long seed = System.nanoTime();
    System.out.println("StreamTest seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    RamPart part = new RamPart(LAYOUT);
    ByteBuffer content = ByteBuffer.allocateDirect(4096);
    for (int round = 0; round < 500; round++) {
      part.clear();
      List<String> expected = new ArrayList<>();
      int pages = 1 + random.nextInt(RamPart.PAGES);
      for (int i = 0; i < pages && part.hasRoom(); i++) {
        int page = random.nextInt(LAYOUT.pages());
        String where =
            LAYOUT.blocks().get(LAYOUT.blockOf(page)).name() + " " + LAYOUT.offsetOf(page);
        if (random.nextInt(4) == 0) {
          part.reserve(page).putInt(7); // a reading that fails half-way
          part.withdraw();
        }
        if (random.nextInt(4) > 0) {
          part.zero(page);
          expected.add(where + " fill 0");
        } else {
          long first = random.nextLong();
          content.clear();
          for (int j = 0; j < 512; j++) {
            content.putLong(first + j);
          }
          part.content(page, content.flip());
          expected.add(where + " page " + first);
        }
        assertEquals(page, part.page(part.count() - 1));
      }
      assertEquals(expected, parse(part.finish()));
    }
  }

  @Test
  void aFullPartTakesNoMore() {
    RamPart part = new RamPart(LAYOUT);
    for (int i = 0; i < RamPart.CONTENT_PAGES; i++) {
      assertTrue(part.hasRoom());
      part.content(i, ByteBuffer.allocateDirect(4096));
    }
    assertThrows(IllegalStateException.class, () -> part.zero(100));
  }

  @Test
  void discardsCoverASetAndNothingElse() throws IOException {
    long seed = System.nanoTime();
    System.out.println("StreamTest seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    GuestLayout layout =
        new GuestLayout(List.of(new RamBlock("a", 2000 * 4096), new RamBlock("b", 77 * 4096)));
    for (int round = 0; round < 200; round++) {
      PageSet pages = new PageSet(layout.pages());
      int ranges = random.nextInt(800);
      for (int i = 0; i < ranges; i++) {
        int from = random.nextInt(layout.pages());
        pages.addRange(from, Math.min(layout.pages(), from + 1 + random.nextInt(3)));
      }
      ByteBuffer out = ByteBuffer.allocate(1 << 16);
      int page = 0;
      while (page >= 0) {
        page = PostcopyRam.discard(out, layout, Ram.names(layout), pages, page);
      }
      PageSet discarded = new PageSet(layout.pages());
      for (String line : parse(out.flip())) {
        String[] word = line.split(" ", -1);
        int block = layout.blockNamed(word[1]);
        int from = layout.pageAt(block, Long.parseLong(word[2]));
        int to = from + (int) (Long.parseLong(word[3]) / 4096);
        for (int i = from; i < to; i++) {
          assertTrue(!discarded.contains(i) && layout.blockOf(i) == block, line);
          discarded.add(i);
        }
      }
      assertEquals(pages, discarded);
    }
  }

  @Test
  void aStreamThatTakesOverAsksForEachBlockAndResumes() throws IOException {
    DataInputStream in =
        new DataInputStream(new ByteArrayInputStream(Resume.commands(LAYOUT).array()));
    for (RamBlock block : LAYOUT.blocks()) {
      assertEquals(8, in.readUnsignedByte());
      assertEquals(10, in.readUnsignedShort());
      assertEquals(1 + block.name().length(), in.readUnsignedShort());
      assertEquals(block.name(), name(in));
    }
    assertEquals(8, in.readUnsignedByte());
    assertEquals(9, in.readUnsignedShort());
    assertEquals(0, in.readUnsignedShort());
    assertEquals(0, in.available());
  }
}
