package org.understudy.ssh;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ByteChannel;
import java.nio.channels.ClosedChannelException;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Queue;
import org.apache.sshd.common.SshConstants;
import org.apache.sshd.common.channel.AbstractChannel;
import org.apache.sshd.common.channel.WindowClosedException;
import org.apache.sshd.common.io.IoWriteFuture;
import org.apache.sshd.common.util.buffer.Buffer;

/**
 * One SSH channel as blocking byte stream, the same at both ends. What has arrived and was not read
 * waits in a ring no larger than the channel's window; a writer waits for the reader's window and
 * for the socket, with at most {@value #PACKETS_IN_FLIGHT} packets unsent.
 *
 * <p>Reading ends with -1 after the other side has closed; a connection that broke is an
 * IOException instead. One thread may read while another writes.
 */
final class PeerStream implements ByteChannel {
  private static final int PACKETS_IN_FLIGHT = 8;
  private static final Duration FOREVER = Duration.ofDays(10_000);

  private final AbstractChannel channel;
  private final String what;
  private final int windowBytes;

  // Guarded by lock: the ring of bytes that have arrived, and how the stream stands.
  private final Object lock = new Object();
  private byte[] ring = new byte[16 << 10];
  private int first;
  private int held;
  private boolean peerClosed;
  private boolean broken;
  private boolean closed;

  private final Object writing = new Object();
  private final Queue<IoWriteFuture> unsent = new ArrayDeque<>();

  /**
   * @param what the stream's name in error sentences, as {@code "the stream 'epochs' with host-b"}
   * @param windowBytes the channel's local window
   */
  PeerStream(AbstractChannel channel, String what, int windowBytes) {
    this.channel = channel;
    this.what = what;
    this.windowBytes = windowBytes;
  }

  /** Keeps what SSH delivered; called from MINA's threads, never blocks. */
  void received(byte[] data, int offset, int length) throws IOException {
    synchronized (lock) {
      if (closed) {
        return;
      }
      if (held + length > windowBytes) {
        throw new IOException(
            "%s: %d bytes arrived beyond the window of %d"
                .formatted(what, held + length - windowBytes, windowBytes));
      }
      if (held + length > ring.length) {
        grow(held + length);
      }
      int end = (first + held) % ring.length;
      int straight = Math.min(length, ring.length - end);
      System.arraycopy(data, offset, ring, end, straight);
      System.arraycopy(data, offset + straight, ring, 0, length - straight);
      held += length;
      lock.notifyAll();
    }
  }

  /** The other side will send no more. */
  void peerEnded() {
    synchronized (lock) {
      peerClosed = true;
      lock.notifyAll();
    }
  }

  /** The channel is gone, in order or not. */
  void channelGone() {
    synchronized (lock) {
      broken = true;
      lock.notifyAll();
    }
  }

  @Override
  public int read(ByteBuffer target) throws IOException {
    int count;
    synchronized (lock) {
      awaitBytes();
      if (closed) {
        throw new ClosedChannelException();
      }
      if (held == 0 && peerClosed) {
        return -1;
      }
      if (held == 0) {
        throw new IOException(what + " broke: the connection is gone");
      }
      count = Math.min(held, target.remaining());
      int straight = Math.min(count, ring.length - first);
      target.put(ring, first, straight).put(ring, 0, count - straight);
      first = (first + count) % ring.length;
      held -= count;
      if (peerClosed || broken) {
        return count;
      }
    }
    if (channel.isOpen()) {
      channel.getLocalWindow().release(count);
    }
    return count;
  }

  @Override
  public int write(ByteBuffer source) throws IOException {
    int total = source.remaining();
    synchronized (writing) {
      while (source.hasRemaining()) {
        writePacket(source);
      }
    }
    return total;
  }

  @Override
  public boolean isOpen() {
    synchronized (lock) {
      return !closed && !broken;
    }
  }

  @Override
  public void close() {
    synchronized (lock) {
      if (closed) {
        return;
      }
      closed = true;
      held = 0;
      ring = new byte[0];
      lock.notifyAll();
    }
    channel.close(false);
  }

  private void writePacket(ByteBuffer source) throws IOException {
    try {
      long space = channel.getRemoteWindow().waitForSpace(FOREVER);
      long packet = Math.min(channel.getRemoteWindow().getPacketSize(), SshSettings.PACKET_BYTES);
      int length = (int) Math.min(source.remaining(), Math.min(space, packet));
      channel.getRemoteWindow().waitAndConsume(length, FOREVER);
      Buffer buffer =
          channel.getSession().createBuffer(SshConstants.SSH_MSG_CHANNEL_DATA, length + 16);
      buffer.putUInt(channel.getRecipient());
      buffer.putUInt(length);
      buffer.ensureCapacity(length);
      int at = buffer.wpos();
      source.get(buffer.array(), at, length);
      buffer.wpos(at + length);
      unsent.add(channel.writePacket(buffer));
      if (unsent.size() > PACKETS_IN_FLIGHT) {
        awaitSent(unsent.remove());
      }
    } catch (WindowClosedException e) {
      throw gone(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw (IOException) new InterruptedIOException(what + ": interrupted").initCause(e);
    }
  }

  private void awaitSent(IoWriteFuture future) throws IOException {
    // In slices: a session that dies does not always complete its writes.
    while (!future.await(Duration.ofMillis(500))) {
      if (!channel.isOpen()) {
        throw gone(null);
      }
    }
    if (future.getException() != null) {
      throw gone(future.getException());
    }
  }

  private IOException gone(Throwable cause) {
    synchronized (lock) {
      if (closed) {
        return new AsynchronousCloseException();
      }
      return new IOException(
          what + (peerClosed ? " was closed by the other side" : " broke: the connection is gone"),
          cause);
    }
  }

  /** Returns when bytes are there or no more can come; called with the lock held. */
  private void awaitBytes() throws IOException {
    try {
      while (held == 0 && !closed && !peerClosed && !broken) {
        lock.wait();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw (IOException) new InterruptedIOException(what + ": interrupted").initCause(e);
    }
  }

  private void grow(int needed) {
    int capacity = (int) Math.min(windowBytes, Math.max(needed, ring.length * 2L));
    byte[] larger = Arrays.copyOfRange(ring, first, first + capacity);
    int straight = Math.min(held, ring.length - first);
    System.arraycopy(ring, 0, larger, straight, held - straight);
    ring = larger;
    first = 0;
  }
}
