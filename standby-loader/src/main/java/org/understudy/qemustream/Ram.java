package org.understudy.qemustream;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.RamBlock;

/**
 * The RAM section's beginning and its flags: migration/ram.c of QEMU 7.2 and 10.0. An entry is a
 * be64 whose low 12 bits are flags and whose upper bits are an offset in a block, followed by what
 * the flags say.
 */
public final class Ram {
  public static final int RAM_SAVE_FLAG_ZERO = 0x02;
  public static final int RAM_SAVE_FLAG_MEM_SIZE = 0x04;
  public static final int RAM_SAVE_FLAG_PAGE = 0x08;
  public static final int RAM_SAVE_FLAG_EOS = 0x10;
  public static final int RAM_SAVE_FLAG_CONTINUE = 0x20;

  /** Version of the section {@code ram}, instance 0. */
  public static final int RAM_SECTION_VERSION = 4;

  /**
   * The number our streams give the section {@code ram}. Device sections carry QEMU's own numbers,
   * and PARTs go to the first section with a number, so this one is out of their way.
   */
  public static final int RAM_SECTION_ID = 0x7fff0001;

  private static final byte[] IDSTR = "ram".getBytes(StandardCharsets.US_ASCII);

  private Ram() {}

  /** Block names as the stream has them, by block number. */
  public static byte[][] names(GuestLayout layout) {
    byte[][] names = new byte[layout.blocks().size()][];
    for (int i = 0; i < names.length; i++) {
      names[i] = layout.blocks().get(i).name().getBytes(StandardCharsets.UTF_8);
    }
    return names;
  }

  /** Bytes that {@link #sectionStart} puts. */
  public static int sectionStartBytes(GuestLayout layout) {
    int bytes = 1 + 4 + 1 + IDSTR.length + 4 + 4 + 8 + 8 + 5;
    for (byte[] name : names(layout)) {
      bytes += 1 + name.length + 8;
    }
    return bytes;
  }

  /**
   * The list of RAM blocks with their used lengths, which QEMU compares with its own (and resizes
   * resizable ones). Blocks are taken to have pages of 4096 bytes: a block on huge pages, or the
   * capability x-ignore-shared, would need more fields, and QEMU refuses the ADVISE before it.
   */
  public static void sectionStart(ByteBuffer out, GuestLayout layout) {
    out.put(Savevm.QEMU_VM_SECTION_START).putInt(RAM_SECTION_ID);
    out.put((byte) IDSTR.length).put(IDSTR).putInt(0).putInt(RAM_SECTION_VERSION);
    out.putLong(layout.bytes() | RAM_SAVE_FLAG_MEM_SIZE);
    byte[][] names = names(layout);
    for (int i = 0; i < names.length; i++) {
      RamBlock block = layout.blocks().get(i);
      out.put((byte) names[i].length).put(names[i]).putLong(block.bytes());
    }
    out.putLong(RAM_SAVE_FLAG_EOS);
    Savevm.sectionFooter(out, RAM_SECTION_ID);
  }
}
