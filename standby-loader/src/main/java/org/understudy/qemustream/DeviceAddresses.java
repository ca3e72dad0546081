package org.understudy.qemustream;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.function.LongConsumer;

/**
 * Guest-physical addresses in a device state that QEMU will read or write when it loads that state:
 * the rings of virtio queues (hw/virtio/virtio.c, virtio_save: be64 desc, avail and used of each
 * queue) and the page of the generation ID (hw/acpi/vmgenid.c: its address, little-endian). The
 * rest of a section is different for each device and version, so every number there that may be the
 * address of a ring counts: it is a hint about pages, and some are named in vain.
 */
public final class DeviceAddresses {
  private static final int RING_ALIGNMENT = 4; // of the used ring, the least of the three
  private static final long FIRST_MIB = 1 << 20;

  private DeviceAddresses() {}

  /**
   * Finds them.
   *
   * @param sections as of {@link Savevm#deviceSections}; what does not look like sections ends the
   *     search
   * @param limit addresses at or above it are none
   */
  public static void find(ByteBuffer sections, long limit, LongConsumer found) {
    ByteBuffer in = sections.duplicate().order(ByteOrder.BIG_ENDIAN);
    int at = in.position();
    while (at >= 0 && at + 6 <= in.limit() && in.get(at) == Savevm.QEMU_VM_SECTION_FULL) {
      int id = in.getInt(at + 1);
      int length = in.get(at + 5) & 0xff;
      int payload = at + 6 + length + 8; // behind the name: instance and version
      int end = footer(in, payload, id);
      if (end < 0) {
        return;
      }
      byte[] name = new byte[length];
      in.get(at + 6, name);
      section(in, new String(name, StandardCharsets.UTF_8), payload, end, limit, found);
      at = end + 5;
    }
  }

  private static void section(
      ByteBuffer in, String name, int payload, int end, long limit, LongConsumer found) {
    if (name.equals("vmgenid") && payload + 8 <= end) {
      long address = Long.reverseBytes(in.getLong(payload));
      if (address >= FIRST_MIB && address < limit) {
        found.accept(address);
      }
    } else if (name.contains("/virtio-")) {
      for (int i = payload; i + 8 <= end; i++) {
        long number = in.getLong(i);
        if (number >= FIRST_MIB && number < limit && number % RING_ALIGNMENT == 0) {
          found.accept(number);
        }
      }
    }
  }

  /** Where the section's footer begins: the next section, or nothing, follows it; -1 if nowhere. */
  private static int footer(ByteBuffer in, int from, int id) {
    for (int i = from; i + 5 <= in.limit(); i++) {
      if (in.get(i) == Savevm.QEMU_VM_SECTION_FOOTER
          && in.getInt(i + 1) == id
          && (i + 5 == in.limit() || in.get(i + 5) == Savevm.QEMU_VM_SECTION_FULL)) {
        return i;
      }
    }
    return -1;
  }
}
