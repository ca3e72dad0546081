package org.understudy.link;

import static org.understudy.link.LinkFormat.ACCEPTED;
import static org.understudy.link.LinkFormat.HELLO_REPLY;
import static org.understudy.link.LinkFormat.MAX_SENTENCE_BYTES;
import static org.understudy.link.LinkFormat.REFUSED;
import static org.understudy.link.LinkFormat.VERSION;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * What the standby answers to a hello.
 *
 * @param accepted whether epochs may come
 * @param lastCommittedEpoch the standby's, 0 if none
 * @param sentence why not; empty when accepted
 */
record LinkReply(boolean accepted, long lastCommittedEpoch, String sentence) {
  void write(FrameWriter frames) throws IOException {
    ByteBuffer body = frames.begin(HELLO_REPLY, 17 + MAX_SENTENCE_BYTES);
    body.putShort((short) VERSION).put((byte) (accepted ? ACCEPTED : REFUSED));
    body.putInt(LinkFormat.KNOWN_FEATURES).putLong(lastCommittedEpoch);
    FrameWriter.putString(body, sentence, MAX_SENTENCE_BYTES);
    frames.end();
    frames.flush();
  }

  /** Reads the frame that the reader is at. */
  static LinkReply read(FrameReader frames) throws IOException {
    int version = frames.u16("version");
    int verdict = frames.u8("verdict");
    frames.u32("optional features");
    long epoch = frames.i64("last committed epoch");
    String sentence = frames.string("sentence", 0, MAX_SENTENCE_BYTES);
    frames.endOfBody();
    if (verdict != ACCEPTED && verdict != REFUSED) {
      throw frames.refuse(
          "verdict %d in HELLO_REPLY, expected %d or %d".formatted(verdict, ACCEPTED, REFUSED));
    }
    if (verdict == ACCEPTED && version != VERSION) {
      throw frames.refuse("version " + version + " in HELLO_REPLY, expected " + VERSION);
    }
    return new LinkReply(verdict == ACCEPTED, epoch, sentence);
  }
}
