package org.understudy.qemustream;

import java.nio.ByteBuffer;
import org.understudy.guest.GuestLayout;

/**
 * What a stream begins with that takes over from a broken one (migration/savevm.c of QEMU 7.2 and
 * 10.0): no header, but for each block the question which of its pages have been received, and
 * MIG_CMD_POSTCOPY_RESUME.
 */
public final class Resume {
  private Resume() {}

  /**
   * All of it, to be written at once: QEMU 7.2 does not survive a link that breaks between the
   * first question and the end.
   */
  public static ByteBuffer commands(GuestLayout layout) {
    byte[][] names = Ram.names(layout);
    int bytes = Savevm.COMMAND_BYTES;
    for (byte[] name : names) {
      bytes += Savevm.COMMAND_BYTES + 1 + name.length;
    }
    ByteBuffer out = ByteBuffer.allocate(bytes);
    for (byte[] name : names) {
      Savevm.command(out, Savevm.MIG_CMD_RECV_BITMAP, 1 + name.length);
      out.put((byte) name.length).put(name);
    }
    Savevm.command(out, Savevm.MIG_CMD_POSTCOPY_RESUME);
    return out.flip();
  }
}
