package org.understudy.linux;

import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * A connection to a UNIX stream socket whose descriptor can be given to another process,
 * close-on-exec.
 */
public final class LocalConnection implements AutoCloseable {
  private static final int AF_UNIX = 1;
  private static final int SOCK_STREAM_CLOEXEC = 1 | 0x80000;
  private static final int LONGEST_PATH = 107;

  private int fd;

  /** Connects. */
  public LocalConnection(Path socket) throws IOException {
    byte[] path = socket.toString().getBytes(StandardCharsets.UTF_8);
    if (path.length > LONGEST_PATH) {
      throw new IOException(
          "%s has %d bytes, expected at most %d".formatted(socket, path.length, LONGEST_PATH));
    }
    ByteBuffer address = Kernel.allocate(2 + LONGEST_PATH + 1);
    address.putShort(0, (short) AF_UNIX).put(2, path);
    fd =
        (int)
            ErrnoException.check(
                Kernel.call(Kernel.SOCKET, AF_UNIX, SOCK_STREAM_CLOEXEC, 0), "a UNIX socket");
    long connected;
    try {
      connected =
          Kernel.restarted(Kernel.CONNECT, fd, Kernel.addressOf(address), address.capacity());
    } finally {
      Reference.reachabilityFence(address);
    }
    if (connected < 0) {
      close();
      ErrnoException.check(connected, "connecting to " + socket);
    }
  }

  /** The descriptor, or -1 once closed. */
  public int fd() {
    return fd;
  }

  /** Writes a few bytes. */
  public void write(byte[] bytes) throws IOException {
    ByteBuffer out = Kernel.allocate(bytes.length);
    out.put(0, bytes);
    long written;
    try {
      written = Kernel.restarted(Kernel.WRITE, fd, Kernel.addressOf(out), bytes.length);
    } finally {
      Reference.reachabilityFence(out);
    }
    if (ErrnoException.check(written, "writing to a UNIX socket") != bytes.length) {
      throw new IOException(written + " of " + bytes.length + " bytes written to a UNIX socket");
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
