package org.understudy.qemustream;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * Headers and commands of the stream: migration/savevm.h and migration/savevm.c of QEMU 7.2 and
 * 10.0. All numbers are big-endian. Every method puts bytes at the buffer's position.
 *
 * <p>A command is {@code QEMU_VM_COMMAND}, be16 number, be16 length, data. A section ends with a
 * footer that repeats its number.
 */
public final class Savevm {
  public static final int QEMU_VM_FILE_MAGIC = 0x5145564d;
  public static final int QEMU_VM_FILE_VERSION = 0x00000003;

  public static final byte QEMU_VM_EOF = 0x00;
  public static final byte QEMU_VM_SECTION_START = 0x01;
  public static final byte QEMU_VM_SECTION_PART = 0x02;
  public static final byte QEMU_VM_SECTION_FULL = 0x04;
  public static final byte QEMU_VM_CONFIGURATION = 0x07;
  public static final byte QEMU_VM_COMMAND = 0x08;
  public static final byte QEMU_VM_SECTION_FOOTER = 0x7e;

  public static final int MIG_CMD_OPEN_RETURN_PATH = 1;
  public static final int MIG_CMD_PING = 2;
  public static final int MIG_CMD_POSTCOPY_ADVISE = 3;
  public static final int MIG_CMD_POSTCOPY_LISTEN = 4;
  public static final int MIG_CMD_POSTCOPY_RUN = 5;
  public static final int MIG_CMD_POSTCOPY_RAM_DISCARD = 6;
  public static final int MIG_CMD_PACKAGED = 7;
  public static final int MIG_CMD_POSTCOPY_RESUME = 9;
  public static final int MIG_CMD_RECV_BITMAP = 10;

  /** Bytes of a command without data. */
  public static final int COMMAND_BYTES = 5;

  /** Bytes before the first section of a device state file: magic and version. */
  private static final int FILE_HEADER_BYTES = 8;

  private Savevm() {}

  /**
   * The stream's beginning: magic, version and the configuration section without subsections, which
   * says that the page size is the target's default and no capability needs to be compared.
   *
   * @param machine the versioned machine type, such as {@code pc-q35-7.2}; QEMU refuses the stream
   *     if its own is another
   */
  public static void header(ByteBuffer out, String machine) {
    byte[] name = machine.getBytes(StandardCharsets.UTF_8);
    out.putInt(QEMU_VM_FILE_MAGIC).putInt(QEMU_VM_FILE_VERSION);
    out.put(QEMU_VM_CONFIGURATION).putInt(name.length).put(name);
  }

  /** A command without data. */
  public static void command(ByteBuffer out, int number) {
    command(out, number, 0);
  }

  /** A command's head; {@code length} bytes of data follow. */
  public static void command(ByteBuffer out, int number, int length) {
    if (length < 0 || length > 0xffff) {
      throw new IllegalArgumentException(
          "command " + number + " with " + length + " bytes of data, expected at most 65535");
    }
    out.put(QEMU_VM_COMMAND).putShort((short) number).putShort((short) length);
  }

  /** Asks for a PONG with the same number on the return path. */
  public static void ping(ByteBuffer out, int number) {
    command(out, MIG_CMD_PING, 4);
    out.putInt(number);
  }

  /**
   * Announces postcopy: empties all RAM blocks of the destination, ROMs and tables included.
   *
   * @param hostPageBytes size of the host's pages behind all RAM blocks (a sum of bits where blocks
   *     differ)
   * @param targetPageBytes size of the guest's pages
   */
  public static void postcopyAdvise(ByteBuffer out, long hostPageBytes, long targetPageBytes) {
    command(out, MIG_CMD_POSTCOPY_ADVISE, 16);
    out.putLong(hostPageBytes).putLong(targetPageBytes);
  }

  /** Bytes that {@link #packageHead} and {@link #packageTail} put. */
  public static final int PACKAGE_FRAME_BYTES = 2 * COMMAND_BYTES + 4 + COMMAND_BYTES + 4 + 5;

  /**
   * The beginning of the package that makes a paused QEMU the guest: PACKAGED and, as its content's
   * first part, LISTEN. {@code sectionBytes} bytes of device sections and {@link #packageTail}
   * follow.
   */
  public static void packageHead(ByteBuffer out, int sectionBytes) {
    int content = COMMAND_BYTES + sectionBytes + (COMMAND_BYTES + 4) + COMMAND_BYTES;
    command(out, MIG_CMD_PACKAGED, 4);
    out.putInt(content);
    command(out, MIG_CMD_POSTCOPY_LISTEN);
  }

  /**
   * The package's end: PING, which is answered when all devices are loaded, and RUN. What follows
   * RUN in a package is not read.
   */
  public static void packageTail(ByteBuffer out, int pingNumber) {
    ping(out, pingNumber);
    command(out, MIG_CMD_POSTCOPY_RUN);
  }

  /** Ends a section. */
  public static void sectionFooter(ByteBuffer out, int sectionId) {
    out.put(QEMU_VM_SECTION_FOOTER).putInt(sectionId);
  }

  /**
   * The device sections of a file made by xen-save-devices-state: without magic, version and end
   * mark.
   *
   * @param file the whole file from position to limit; not moved
   * @throws IOException the file cannot be a whole device state
   */
  public static ByteBuffer deviceSections(ByteBuffer file) throws IOException {
    ByteBuffer view = file.duplicate().order(ByteOrder.BIG_ENDIAN);
    int bytes = view.remaining();
    int at = view.position();
    if (bytes < FILE_HEADER_BYTES + 2
        || view.getInt(at) != QEMU_VM_FILE_MAGIC
        || view.getInt(at + 4) != QEMU_VM_FILE_VERSION
        || view.get(at + FILE_HEADER_BYTES) != QEMU_VM_SECTION_FULL
        || view.get(view.limit() - 1) != QEMU_VM_EOF) {
      throw new IOException(
          String.format(
              "a device state of %d bytes that begins with %s and ends with %s, expected magic"
                  + " 0x%x, version %d, a section of type %d, and %d at the end",
              bytes,
              hex(view, at, Math.min(bytes, FILE_HEADER_BYTES + 1)),
              hex(view, view.limit() - Math.min(1, bytes), Math.min(1, bytes)),
              QEMU_VM_FILE_MAGIC,
              QEMU_VM_FILE_VERSION,
              QEMU_VM_SECTION_FULL,
              QEMU_VM_EOF));
    }
    return view.slice(at + FILE_HEADER_BYTES, bytes - FILE_HEADER_BYTES - 1);
  }

  private static String hex(ByteBuffer buffer, int at, int count) {
    StringBuilder text = new StringBuilder("0x");
    for (int i = 0; i < count; i++) {
      text.append(String.format("%02x", buffer.get(at + i)));
    }
    return text.toString();
  }
}
