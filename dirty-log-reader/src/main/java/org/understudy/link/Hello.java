package org.understudy.link;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.Pages;
import org.understudy.guest.RamBlock;

/**
 * What the primary says first.
 *
 * @param session a random id of this conversation
 * @param domain UUID of the domain
 * @param name name of the domain
 * @param generation who may run: the number that the primary owns
 * @param acknowledgedEpoch the last epoch whose commit the primary has heard of, 0 for none
 * @param machine QEMU's versioned machine type
 * @param layout the guest's RAM blocks
 */
public record Hello(
    UUID session,
    UUID domain,
    String name,
    long generation,
    long acknowledgedEpoch,
    String machine,
    GuestLayout layout) {

  void writeTo(ByteBuffer out) {
    out.putLong(LinkFormat.MAGIC).putShort((short) LinkFormat.VERSION).putLong(0).putLong(0);
    out.putLong(session.getMostSignificantBits()).putLong(session.getLeastSignificantBits());
    out.putLong(domain.getMostSignificantBits()).putLong(domain.getLeastSignificantBits());
    out.putLong(generation).putLong(acknowledgedEpoch);
    Strings.put(out, name);
    Strings.put(out, machine);
    out.putInt(Pages.SIZE).putShort((short) layout.blocks().size());
    for (RamBlock block : layout.blocks()) {
      Strings.put(out, block.name());
      out.putLong(block.bytes());
    }
  }

  static Hello read(ByteBuffer in, long offset) throws IOException {
    long magic = in.getLong();
    if (magic != LinkFormat.MAGIC) {
      throw new LinkFormatException(offset, "magic 0x" + Long.toHexString(magic));
    }
    int version = in.getShort();
    if (version != LinkFormat.VERSION) {
      throw new LinkFormatException(
          offset, "version " + version + ", this host speaks " + LinkFormat.VERSION);
    }
    long needed = in.getLong();
    in.getLong();
    if (needed != 0) {
      throw new LinkFormatException(offset, "unknown features 0x" + Long.toHexString(needed));
    }
    UUID session = new UUID(in.getLong(), in.getLong());
    UUID domain = new UUID(in.getLong(), in.getLong());
    long generation = in.getLong();
    long acknowledged = in.getLong();
    String name = Strings.get(in, offset);
    String machine = Strings.get(in, offset);
    int pageSize = in.getInt();
    int count = in.getShort();
    if (pageSize != Pages.SIZE || count < 1 || count > LinkFormat.MAX_BLOCKS) {
      throw new LinkFormatException(offset, "page size " + pageSize + ", " + count + " RAM blocks");
    }
    List<RamBlock> blocks = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      String block = Strings.get(in, offset);
      long bytes = in.getLong();
      blocks.add(new RamBlock(block, bytes));
    }
    return new Hello(
        session, domain, name, generation, acknowledged, machine, new GuestLayout(blocks));
  }
}
