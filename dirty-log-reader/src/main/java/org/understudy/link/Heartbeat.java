package org.understudy.link;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * The thread {@code link-heartbeat}: one HEARTBEAT every so often, between other frames, until the
 * stream fails or it is closed.
 */
final class Heartbeat implements AutoCloseable {
  private final FrameWriter out;
  private final long everyMs;
  private final Thread thread;

  Heartbeat(FrameWriter out, long everyMs) {
    this.out = out;
    this.everyMs = everyMs;
    thread = new Thread(this::beat, "link-heartbeat");
    thread.setDaemon(true);
    thread.start();
  }

  private void beat() {
    ByteBuffer payload = ByteBuffer.allocate(8);
    try {
      for (long sequence = 1; ; sequence++) {
        out.frame(LinkFormat.HEARTBEAT, payload.clear().putLong(sequence).flip(), null);
        out.flush();
        Thread.sleep(everyMs);
      }
    } catch (IOException e) {
      // The reader of this end finds the same and tells.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    thread.interrupt();
  }
}
