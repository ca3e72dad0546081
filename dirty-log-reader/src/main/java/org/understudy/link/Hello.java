package org.understudy.link;

import static org.understudy.link.LinkFormat.HELLO;
import static org.understudy.link.LinkFormat.KNOWN_FEATURES;
import static org.understudy.link.LinkFormat.MAGIC;
import static org.understudy.link.LinkFormat.MAX_BLOCKS;
import static org.understudy.link.LinkFormat.MAX_BODY_BYTES;
import static org.understudy.link.LinkFormat.MAX_NAME_BYTES;
import static org.understudy.link.LinkFormat.VERSION;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.Pages;
import org.understudy.guest.RamBlock;

/**
 * What the primary says first.
 *
 * @param session a random id of this conversation
 * @param domain UUID of the domain
 * @param name name of the domain, 1 to 255 bytes of UTF-8
 * @param generation who may run: the number that the primary owns, at least 0
 * @param acknowledgedEpoch the last epoch whose commit the primary has heard of, 0 for none
 * @param machine QEMU's versioned machine type, 1 to 255 bytes
 * @param layout the guest's RAM blocks, at most {@link LinkFormat#MAX_BLOCKS}
 */
public record Hello(
    UUID session,
    UUID domain,
    String name,
    long generation,
    long acknowledgedEpoch,
    String machine,
    GuestLayout layout) {
  /** Checks lengths and numbers. */
  public Hello {
    checkName("domain name", name);
    checkName("machine type", machine);
    if (generation < 0 || acknowledgedEpoch < 0) {
      throw new IllegalArgumentException(
          "generation %d, epoch %d, expected at least 0".formatted(generation, acknowledgedEpoch));
    }
    if (layout.blocks().size() > MAX_BLOCKS) {
      throw new IllegalArgumentException(
          "guest %s has %d RAM blocks, expected at most %d"
              .formatted(name, layout.blocks().size(), MAX_BLOCKS));
    }
  }

  private static void checkName(String what, String name) {
    int bytes = name.getBytes(StandardCharsets.UTF_8).length;
    if (bytes < 1 || bytes > MAX_NAME_BYTES) {
      throw new IllegalArgumentException(
          "%s of %d bytes, expected 1 to %d".formatted(what, bytes, MAX_NAME_BYTES));
    }
  }

  void write(FrameWriter frames) throws IOException {
    ByteBuffer body = frames.begin(HELLO, MAX_BODY_BYTES);
    body.putLong(MAGIC).putShort((short) VERSION).putInt(KNOWN_FEATURES).putInt(KNOWN_FEATURES);
    body.putLong(session.getMostSignificantBits()).putLong(session.getLeastSignificantBits());
    body.putLong(domain.getMostSignificantBits()).putLong(domain.getLeastSignificantBits());
    FrameWriter.putString(body, name, MAX_NAME_BYTES);
    body.putLong(generation).putLong(acknowledgedEpoch);
    FrameWriter.putString(body, machine, MAX_NAME_BYTES);
    body.putInt(Pages.SIZE).putShort((short) layout.blocks().size());
    for (RamBlock block : layout.blocks()) {
      FrameWriter.putString(body, block.name(), MAX_NAME_BYTES);
      body.putLong(block.bytes());
    }
    frames.end();
    frames.flush();
  }

  /** Reads the frame that the reader is at. */
  static Hello read(FrameReader frames) throws IOException {
    long magic = frames.bits64("magic");
    if (magic != MAGIC) {
      throw frames.refuse("magic 0x%016x, expected 0x%016x".formatted(magic, MAGIC));
    }
    int version = frames.u16("version");
    if (version != VERSION) {
      throw frames.refuse("version " + version + " in HELLO, expected " + VERSION);
    }
    int required = (int) frames.u32("required features");
    frames.u32("optional features");
    if ((required & ~KNOWN_FEATURES) != 0) {
      throw frames.refuse(
          "required features 0x%08x are not known, this side knows 0x%08x"
              .formatted(required & ~KNOWN_FEATURES, KNOWN_FEATURES));
    }
    UUID session = new UUID(frames.bits64("session"), frames.bits64("session"));
    UUID domain = new UUID(frames.bits64("domain"), frames.bits64("domain"));
    String name = frames.string("domain name", 1, MAX_NAME_BYTES);
    long generation = frames.i64("generation");
    long acknowledged = frames.i64("acknowledged epoch");
    String machine = frames.string("machine type", 1, MAX_NAME_BYTES);
    GuestLayout layout = readLayout(frames);
    frames.endOfBody();
    return new Hello(session, domain, name, generation, acknowledged, machine, layout);
  }

  private static GuestLayout readLayout(FrameReader frames) throws IOException {
    long pageSize = frames.u32("page size");
    if (pageSize != Pages.SIZE) {
      throw frames.refuse("pages of " + pageSize + " bytes, expected " + Pages.SIZE);
    }
    int count = frames.u16("blocks");
    if (count < 1 || count > MAX_BLOCKS) {
      throw frames.refuse(count + " RAM blocks, expected 1 to " + MAX_BLOCKS);
    }
    List<RamBlock> blocks = new ArrayList<>(count);
    Set<String> names = new HashSet<>();
    long pages = 0;
    for (int i = 0; i < count; i++) {
      String name = frames.string("block name", 1, MAX_NAME_BYTES);
      long bytes = frames.i64("block bytes");
      if (bytes == 0 || bytes % Pages.SIZE != 0 || !names.add(name)) {
        throw frames.refuse(
            "RAM block %s of %d bytes, expected a new name and a positive multiple of %d"
                .formatted(name, bytes, Pages.SIZE));
      }
      pages += bytes >> Pages.SHIFT;
      if (pages > Integer.MAX_VALUE) {
        throw frames.refuse(
            "RAM blocks of %d pages up to %s, expected at most %d"
                .formatted(pages, name, Integer.MAX_VALUE));
      }
      blocks.add(new RamBlock(name, bytes));
    }
    return new GuestLayout(blocks);
  }
}
