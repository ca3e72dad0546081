package org.understudy.link;

import static org.understudy.link.LinkFormat.HEARTBEAT;

import java.io.IOException;

/**
 * The other side's last heartbeat.
 *
 * @param sequence 1, 2, 3, …
 * @param epoch primary: last epoch acknowledged; standby: last epoch committed
 * @param lagNs primary: age of its oldest unacknowledged epoch, 0 if none; standby: how long its
 *     sink has kept it busy, 0 if it listens
 */
public record Heartbeat(long sequence, long epoch, long lagNs) {
  /** Before the first. */
  static final Heartbeat NONE = new Heartbeat(0, 0, 0);

  void write(FrameWriter frames) throws IOException {
    frames.begin(HEARTBEAT, 24).putLong(sequence).putLong(epoch).putLong(lagNs);
    frames.end();
    frames.flush();
  }

  /** Reads the frame that the reader is at, which follows heartbeat {@code before}. */
  static Heartbeat read(FrameReader frames, Heartbeat before) throws IOException {
    Heartbeat beat = new Heartbeat(frames.i64("sequence"), frames.i64("epoch"), frames.i64("lag"));
    frames.endOfBody();
    if (beat.sequence != before.sequence + 1) {
      throw frames.refuse(
          "heartbeat %d, expected %d".formatted(beat.sequence, before.sequence + 1));
    }
    return beat;
  }
}
