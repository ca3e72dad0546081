package org.understudy.capture;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The file that QEMU's xen-save-devices-state writes (migration/savevm.c): magic, version, a FULL
 * section for each device, end mark.
 */
final class DeviceStateFile {
  static final int QEMU_VM_FILE_MAGIC = 0x5145564d;
  static final int QEMU_VM_FILE_VERSION = 3;
  static final byte QEMU_VM_EOF = 0;
  static final byte QEMU_VM_SECTION_FULL = 4;

  private DeviceStateFile() {}

  /** Refuses what cannot be a whole device state from position to limit. */
  static void check(ByteBuffer state) throws IOException {
    int bytes = state.remaining();
    if (bytes < 16) {
      throw new IOException("a device state of " + bytes + " bytes, expected at least 16");
    }
    ByteBuffer view = state.duplicate().order(ByteOrder.BIG_ENDIAN);
    int at = view.position();
    int magic = view.getInt(at);
    int version = view.getInt(at + 4);
    byte first = view.get(at + 8);
    byte last = view.get(view.limit() - 1);
    if (magic != QEMU_VM_FILE_MAGIC
        || version != QEMU_VM_FILE_VERSION
        || first != QEMU_VM_SECTION_FULL
        || last != QEMU_VM_EOF) {
      throw new IOException(
          String.format(
              "a device state of %d bytes with magic 0x%x, version %d, first section type %d and"
                  + " last byte %d, expected 0x%x, %d, %d and %d",
              bytes,
              magic,
              version,
              first,
              last,
              QEMU_VM_FILE_MAGIC,
              QEMU_VM_FILE_VERSION,
              QEMU_VM_SECTION_FULL,
              QEMU_VM_EOF));
    }
  }
}
