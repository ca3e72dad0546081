package org.understudy.linux;

import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * A connection over a UNIX socket as a bare descriptor, which can be given to another process and
 * be taken over from one; the JDK's channels can do neither. One thread at a time.
 */
public final class UnixConnection implements AutoCloseable {
  private static final int AF_UNIX = 1;
  private static final int SOCK_STREAM = 1;
  private static final int SOCK_CLOEXEC = 0x80000;

  /** {@code sizeof sun_path}, its closing zero included. */
  private static final int PATH_BYTES = 108;

  private final ByteBuffer scratch = Kernel.allocate(8);
  private final long scratchAddress = Kernel.addressOf(scratch);
  private int fd;

  private UnixConnection(int fd) {
    this.fd = fd;
  }

  /** Connects to a socket that somebody listens at. */
  public static UnixConnection connect(Path socket) throws IOException {
    byte[] path = socket.toString().getBytes(StandardCharsets.UTF_8);
    if (path.length >= PATH_BYTES) {
      throw new IOException(
          "socket path " + socket + " of " + path.length + " bytes, expected less than 108");
    }
    ByteBuffer address = Kernel.allocate(2 + PATH_BYTES);
    address.putShort((short) AF_UNIX).put(path);
    UnixConnection connection =
        new UnixConnection(
            (int)
                ErrnoException.check(
                    Kernel.call(Kernel.SOCKET, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    long result;
    try {
      result =
          Kernel.restarted(
              Kernel.CONNECT, connection.fd, Kernel.addressOf(address), 2 + path.length + 1);
    } finally {
      Reference.reachabilityFence(address);
    }
    if (result < 0) {
      connection.close();
    }
    ErrnoException.check(result, "connecting to " + socket);
    return connection;
  }

  /** Takes over a descriptor of ours that is such a connection, and closes it in the end. */
  public static UnixConnection of(int fd) {
    return new UnixConnection(fd);
  }

  /** The descriptor, or -1 once closed. */
  public int fd() {
    return fd;
  }

  /** Whether {@link #read} would not block; false after {@code timeoutMs}. */
  public boolean awaitReadable(int timeoutMs) throws IOException {
    return AnonymousPipe.Poll.readable(fd, timeoutMs, scratch, scratchAddress);
  }

  /** Reads what is there into a direct buffer; bytes read, or -1 at the end. */
  public int read(ByteBuffer into) throws IOException {
    long address = Kernel.addressOf(into) + into.position();
    long count;
    try {
      count = Kernel.restarted(Kernel.READ, fd, address, into.remaining());
    } finally {
      Reference.reachabilityFence(into);
    }
    ErrnoException.check(count, "reading from a UNIX socket");
    into.position(into.position() + (int) count);
    return count == 0 && into.hasRemaining() ? -1 : (int) count;
  }

  /** Writes all of a direct buffer; blocks while nobody reads and the socket is full. */
  public void write(ByteBuffer from) throws IOException {
    while (from.hasRemaining()) {
      long address = Kernel.addressOf(from) + from.position();
      long count;
      try {
        count = Kernel.restarted(Kernel.WRITE, fd, address, from.remaining());
      } finally {
        Reference.reachabilityFence(from);
      }
      ErrnoException.check(count, "writing to a UNIX socket");
      from.position(from.position() + (int) count);
    }
  }

  @Override
  public void close() {
    if (fd >= 0) {
      Kernel.close(fd);
      fd = -1;
    }
  }
}
