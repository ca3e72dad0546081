package org.understudy.standby;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;

/**
 * A standby that has been given away for its promotion: the stream, the return path and the pages
 * placed now belong to the thread that runs the promotion.
 */
public final class Possession implements GuestStream {
  /** What is done with it; runs in the thread {@code standby-load}. */
  public interface Work<T> {
    /** Fails with an IOException when the stream or QEMU is gone. */
    T run(Possession standby) throws IOException;
  }

  private final StandbyGuest guest;
  private final StreamLink link;
  private final PageSet placed;

  Possession(StandbyGuest guest, StreamLink link, PageSet placed) {
    this.guest = guest;
    this.link = link;
    this.placed = placed;
  }

  public GuestLayout layout() {
    return guest.layout();
  }

  public StandbyMonitor monitor() {
    return guest.monitor();
  }

  /** The look at QEMU's memory, or null where the standby's addresses are not known. */
  public PresenceProbe presence() {
    return guest.presence();
  }

  /** The last look, directly before LISTEN: fails if somebody has changed QEMU's capabilities. */
  public void checkCapabilities() throws IOException {
    guest.checkCapabilities();
  }

  /** The pages that were placed and not taken out; ours to change. */
  public PageSet placed() {
    return placed;
  }

  @Override
  public Inbox inbox() {
    return link.inbox();
  }

  /** Writes all of each buffer, in order; fails after the stall deadline of the settings. */
  public void write(ByteBuffer... buffers) throws IOException {
    link.write(buffers);
  }

  @Override
  public void write(ByteBuffer buffer) throws IOException {
    link.write(buffer);
  }

  /** A number that no PING of this stream had. */
  public int nextPing() {
    return guest.nextPing();
  }

  /** Returns when QEMU has read everything written so far. */
  public void settle() throws IOException {
    guest.settle();
  }

  /** All devices are loaded: from here on the guest is this standby. */
  public void ran() throws IOException {
    guest.take(new StandbyState.Message.Ran());
  }

  /** The last page is delivered. */
  public void finished() throws IOException {
    guest.take(new StandbyState.Message.Finished());
  }

  /** The stream is given up. */
  public void lost(String reason) throws IOException {
    guest.take(new StandbyState.Message.Lost(reason));
    link.close(reason);
  }
}
