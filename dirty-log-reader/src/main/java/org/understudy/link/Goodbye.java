package org.understudy.link;

import static org.understudy.link.LinkFormat.MAX_SENTENCE_BYTES;

import java.io.IOException;

/** Why a primary ends a conversation in an orderly way. */
public enum Goodbye {
  /** The guest is no longer protected. */
  PROTECTION_ENDS(1),
  /** The standby takes over by plan. */
  SWITCHOVER(2),
  /** The primary's daemon stops; the guest goes on. */
  DAEMON_STOPS(3),
  /**
   * The guest goes on, but the primary has lost its guard and begins everything anew: link and
   * guard are both silent until it is back.
   */
  BEGINS_AGAIN(4);

  private final int code;

  Goodbye(int code) {
    this.code = code;
  }

  void write(FrameWriter frames, String sentence) throws IOException {
    FrameWriter.putString(
        frames.begin(LinkFormat.GOODBYE, 3 + MAX_SENTENCE_BYTES).put((byte) code),
        sentence,
        MAX_SENTENCE_BYTES);
    frames.end();
    frames.flush();
  }

  /** Reads the reason of the frame that the reader is at; its sentence and end follow. */
  static Goodbye read(FrameReader frames) throws IOException {
    int code = frames.u8("reason");
    for (Goodbye reason : values()) {
      if (reason.code == code) {
        return reason;
      }
    }
    throw frames.refuse("reason " + code + " in GOODBYE, expected 1 to " + values().length);
  }
}
