package org.understudy.link;

import static org.understudy.link.LinkFormat.LZ4;
import static org.understudy.link.LinkFormat.MAX_RECORDS;
import static org.understudy.link.LinkFormat.RAW;
import static org.understudy.link.LinkFormat.ZERO;

import java.io.IOException;
import java.nio.ByteBuffer;
import net.jpountz.lz4.LZ4Exception;
import net.jpountz.lz4.LZ4Factory;
import net.jpountz.lz4.LZ4SafeDecompressor;
import org.understudy.guest.EpochSink;
import org.understudy.guest.Pages;

/** The records of a PAGES frame on their way to the sink. No object per page. */
final class PageRecords {
  private static final LZ4SafeDecompressor DECOMPRESSOR =
      LZ4Factory.fastestInstance().safeDecompressor();

  private final FrameReader frames;
  private final int pages;
  private final EpochSink sink;
  private final ByteBuffer raw; // the reader's memory, its position on the page given to the sink
  private final ByteBuffer decompressed = ByteBuffer.allocateDirect(Pages.SIZE);

  PageRecords(FrameReader frames, int pages, EpochSink sink) {
    this.frames = frames;
    this.pages = pages;
    this.sink = sink;
    raw = frames.body().duplicate();
  }

  /** Gives all pages of the frame to the sink; returns how many those were. */
  long give() throws IOException {
    int records = frames.u16("count");
    if (records < 1 || records > MAX_RECORDS) {
      throw frames.refuse(records + " records in PAGES, expected 1 to " + MAX_RECORDS);
    }
    long given = 0;
    for (int i = 0; i < records; i++) {
      long page = frames.u32("page");
      int word = (int) frames.u32("kind");
      int kind = word >>> 24;
      int value = word & 0xFFFFFF;
      if (page >= pages) {
        throw frames.refuse("page " + page + " of a guest with " + pages + " pages");
      }
      given += give((int) page, kind, value);
    }
    return given;
  }

  private int give(int page, int kind, int value) throws IOException {
    switch (kind) {
      case RAW -> giveRaw(page, value);
      case ZERO -> {
        giveZeros(page, value);
        return value;
      }
      case LZ4 -> giveLz4(page, value);
      default -> throw frames.refuse("page kind " + kind + " of page " + page);
    }
    return 1;
  }

  private void giveRaw(int page, int bytes) throws IOException {
    if (bytes != Pages.SIZE) {
      throw frames.refuse("RAW page of " + bytes + " bytes, expected " + Pages.SIZE);
    }
    ByteBuffer body = frames.need(bytes, "content");
    int at = body.position();
    body.position(at + bytes);
    sink.page(page, raw.limit(at + bytes).position(at));
  }

  private void giveZeros(int page, int run) throws IOException {
    if (run < 1 || (long) page + run > pages) {
      throw frames.refuse(
          "%d zero pages from page %d of a guest with %d pages".formatted(run, page, pages));
    }
    for (int i = 0; i < run; i++) {
      sink.zeroPage(page + i);
    }
  }

  private void giveLz4(int page, int bytes) throws IOException {
    if (bytes < 1 || bytes >= Pages.SIZE) {
      throw frames.refuse("LZ4 page of " + bytes + " bytes, expected 1 to " + (Pages.SIZE - 1));
    }
    ByteBuffer body = frames.need(bytes, "content");
    int at = body.position();
    body.position(at + bytes);
    if (decompress(body, at, bytes) != Pages.SIZE) {
      throw frames.refuse(
          "LZ4 block of page " + page + " is not " + Pages.SIZE + " bytes of a page");
    }
    sink.page(page, decompressed.clear());
  }

  /** Bytes that the block decodes to, -1 for a malformed one. */
  private int decompress(ByteBuffer body, int at, int bytes) {
    try {
      return DECOMPRESSOR.decompress(body, at, bytes, decompressed.clear(), 0, Pages.SIZE);
    } catch (LZ4Exception e) {
      return -1;
    }
  }
}
