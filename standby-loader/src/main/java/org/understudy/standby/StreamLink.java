package org.understudy.standby;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.concurrent.locks.LockSupport;
import org.understudy.guest.GuestLayout;
import org.understudy.qemustream.ReturnPath;

/**
 * The connection to the standby QEMU: the stream out, the return path in. One thread writes; thread
 * {@code standby-return} reads into the {@link Inbox}. A write that QEMU does not take blocks until
 * somebody closes the link.
 */
final class StreamLink implements AutoCloseable {
  private static final int READ_BYTES = 64 << 10;

  private final SocketChannel channel;
  private final Inbox inbox = new Inbox();
  private final Thread reader;
  private volatile long writingSinceNs; // 0 while no write is under way
  private volatile String closedBecause;

  private StreamLink(SocketChannel channel, ReturnPath path) {
    this.channel = channel;
    reader = new Thread(() -> read(path), "standby-return");
    reader.setDaemon(true);
    reader.start();
  }

  /** Connects to {@code socket}, which may take a moment to appear. */
  static StreamLink connect(Path socket, GuestLayout layout, StandbySettings settings)
      throws IOException {
    return connect(socket, new ReturnPath(layout), settings);
  }

  /** As {@link #connect(Path, GuestLayout, StandbySettings)}, for another kind of return path. */
  static StreamLink connect(Path socket, ReturnPath path, StandbySettings settings)
      throws IOException {
    long end = System.nanoTime() + settings.replyDeadlineMs() * 1_000_000;
    while (true) {
      SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
      try {
        channel.setOption(StandardSocketOptions.SO_SNDBUF, settings.socketBytes());
        channel.connect(UnixDomainSocketAddress.of(socket));
        return new StreamLink(channel, path);
      } catch (IOException failure) {
        channel.close();
        if (System.nanoTime() - end > 0) {
          throw new IOException(
              "no connection to the standby's socket "
                  + socket
                  + " within "
                  + settings.replyDeadlineMs()
                  + " ms: "
                  + failure.getMessage(),
              failure);
        }
        LockSupport.parkNanos(1_000_000);
      }
    }
  }

  Inbox inbox() {
    return inbox;
  }

  /** Writes all of each buffer, in order. */
  void write(ByteBuffer... buffers) throws IOException {
    for (ByteBuffer buffer : buffers) {
      write(buffer);
    }
  }

  /** Writes what is between position and limit. */
  void write(ByteBuffer buffer) throws IOException {
    writingSinceNs = System.nanoTime() | 1;
    try {
      while (buffer.hasRemaining()) {
        channel.write(buffer);
      }
    } catch (IOException failure) {
      throw new IOException(
          "the standby's QEMU takes no more of the stream: " + reason(failure), failure);
    } finally {
      writingSinceNs = 0;
    }
  }

  /** Closes the link if a write has been blocked for longer than {@code deadlineMs}. */
  void closeIfBlocked(long deadlineMs) {
    long since = writingSinceNs;
    long blockedMs = since == 0 ? 0 : (System.nanoTime() - since) / 1_000_000;
    if (blockedMs > deadlineMs) {
      close("QEMU has taken nothing for " + blockedMs + " ms");
    }
  }

  /** Closes the link for a reason; the first one counts. Before the guest runs QEMU exits. */
  void close(String reason) {
    if (closedBecause == null) {
      closedBecause = reason;
    }
    try {
      channel.close();
    } catch (IOException leftToTheKernel) {
      // Nothing can be done about it, and nothing depends on it.
    }
    inbox.end(reason);
  }

  @Override
  public void close() {
    close("closed");
  }

  private String reason(IOException failure) {
    return closedBecause != null ? closedBecause : String.valueOf(failure.getMessage());
  }

  private void read(ReturnPath path) {
    ByteBuffer in = ByteBuffer.allocateDirect(READ_BYTES);
    try {
      while (channel.read(in) >= 0) {
        in.flip();
        path.read(in, inbox);
        in.compact();
      }
      inbox.end("QEMU ended the stream");
    } catch (IOException failure) {
      inbox.end(reason(failure));
    }
  }
}
