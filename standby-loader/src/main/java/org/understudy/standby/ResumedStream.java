package org.understudy.standby;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.qemustream.Resume;
import org.understudy.qemustream.ReturnPath;

/**
 * A new stream to a guest that ran when the old one broke. QEMU says which pages it has; it repeats
 * by itself what it had asked for.
 */
public final class ResumedStream implements GuestStream, AutoCloseable {
  private static final long LOOK_MS = 1000;

  private final StreamLink link;
  private final PageSet received;
  private final Thread watch;

  private ResumedStream(StreamLink link, PageSet received, StandbySettings settings) {
    this.link = link;
    this.received = received;
    watch = new Thread(() -> watch(settings.stallDeadlineMs()), "standby-watch");
    watch.setDaemon(true);
  }

  /**
   * Connects to a QEMU that was told {@code migrate-recover}, and takes over.
   *
   * @param socket where it listens
   * @param layout of the guest, as the broken stream had it
   */
  public static ResumedStream connect(Path socket, GuestLayout layout, StandbySettings settings)
      throws IOException, InterruptedException {
    StreamLink link = StreamLink.connect(socket, ReturnPath.ofRecovery(layout), settings);
    try {
      link.inbox().expectReceived(layout.pages());
      link.write(Resume.commands(layout));
      PageSet received = link.inbox().awaitResumed(settings.replyDeadlineMs());
      if (received == null) {
        String ended = link.inbox().ended();
        throw new IOException(
            "QEMU did not take up the new stream: "
                + (ended != null ? ended : "no answer in " + settings.replyDeadlineMs() + " ms"));
      }
      ResumedStream stream = new ResumedStream(link, received, settings);
      stream.watch.start();
      return stream;
    } catch (IOException | InterruptedException failure) {
      link.close(String.valueOf(failure.getMessage()));
      throw failure;
    }
  }

  /** The pages that QEMU had when the old stream broke; the caller's to change. */
  public PageSet received() {
    return received;
  }

  @Override
  public Inbox inbox() {
    return link.inbox();
  }

  @Override
  public void write(ByteBuffer buffer) throws IOException {
    link.write(buffer);
  }

  /** Ends a write that QEMU does not take. */
  private void watch(long stallDeadlineMs) {
    try {
      while (link.inbox().ended() == null) {
        TimeUnit.MILLISECONDS.sleep(LOOK_MS);
        link.closeIfBlocked(stallDeadlineMs);
      }
    } catch (InterruptedException closed) {
      // The stream is not needed any more.
    }
  }

  @Override
  public void close() {
    watch.interrupt();
    link.close();
  }
}
