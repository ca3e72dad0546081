package org.understudy.link;

/**
 * The few numbers of a link.
 *
 * @param stagingBytes memory for frames waiting to be sent, at least 512 KiB; rounded down to 256
 *     KiB
 * @param heartbeatMs time between heartbeats, at least 1
 * @param helloDeadlineMs how long the primary waits for the standby's reply, at least 1
 */
public record LinkSettings(int stagingBytes, long heartbeatMs, long helloDeadlineMs) {
  /** 4 MiB, 250 ms, 10 s. */
  public static final LinkSettings DEFAULT = new LinkSettings(4 << 20, 250, 10_000);

  /** Checks the numbers. */
  public LinkSettings {
    if (stagingBytes < 2 * FrameWriter.CHUNK_BYTES || heartbeatMs < 1 || helloDeadlineMs < 1) {
      throw new IllegalArgumentException(
          "link with staging of %d bytes, heartbeats every %d ms, hello within %d ms; expected at least %d, 1, 1"
              .formatted(stagingBytes, heartbeatMs, helloDeadlineMs, 2 * FrameWriter.CHUNK_BYTES));
    }
  }

  /** The same with another time between heartbeats. */
  public LinkSettings withHeartbeatMs(long ms) {
    return new LinkSettings(stagingBytes, ms, helloDeadlineMs);
  }

  /** Chunks of staging. */
  int chunks() {
    return stagingBytes / FrameWriter.CHUNK_BYTES;
  }

  /** Nanoseconds between heartbeats. */
  long heartbeatNs() {
    return heartbeatMs * 1_000_000;
  }
}
