package org.understudy.linux;

import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;

/**
 * A pipe without a name, both ends close-on-exec. When the last writing end is closed a reader sees
 * the end; when the last reading end is closed a writer fails with EPIPE. One thread at a time.
 */
public final class AnonymousPipe implements AutoCloseable {
  private static final int O_CLOEXEC = 0x80000;
  private static final int F_SETPIPE_SZ = 1031;
  private static final int FIONREAD = 0x541b;
  private static final short POLLIN = 1;

  private final ByteBuffer scratch = Kernel.allocate(8);
  private final long scratchAddress = Kernel.addressOf(scratch);
  private int readFd;
  private int writeFd;

  /** A new pipe with the kernel's default buffer, usually 64 KiB. */
  public AnonymousPipe() throws IOException {
    ErrnoException.check(Kernel.call(Kernel.PIPE2, scratchAddress, O_CLOEXEC, 0), "pipe2");
    readFd = scratch.getInt(0);
    writeFd = scratch.getInt(4);
  }

  /** The reading end's descriptor, or -1 once closed. */
  public int readFd() {
    return readFd;
  }

  /** The writing end's descriptor, or -1 once closed. */
  public int writeFd() {
    return writeFd;
  }

  /**
   * Sets the size of the pipe's buffer; content stays.
   *
   * @param bytes rounded up by the kernel to a power of two of pages, 4096 or more
   * @return the size set, in bytes
   */
  public int setSize(int bytes) throws IOException {
    int fd = readFd >= 0 ? readFd : writeFd;
    return (int)
        ErrnoException.check(
            Kernel.call(Kernel.FCNTL, fd, F_SETPIPE_SZ, bytes), "pipe size of " + bytes + " bytes");
  }

  /** Gives both ends to another user, so that a process of theirs can open them through /proc. */
  public void changeOwner(int uid, int gid) throws IOException {
    String what = "changing a pipe's owner to " + uid + ":" + gid;
    // Both ends are one inode.
    int fd = readFd >= 0 ? readFd : writeFd;
    ErrnoException.check(Kernel.call(Kernel.FCHOWN, fd, uid, gid), what);
  }

  /** Closes our writing end; others may hold copies. */
  public void closeWrite() {
    if (writeFd >= 0) {
      Kernel.close(writeFd);
      writeFd = -1;
    }
  }

  /** Closes our reading end; others may hold copies. */
  public void closeRead() {
    if (readFd >= 0) {
      Kernel.close(readFd);
      readFd = -1;
    }
  }

  /**
   * Reads what is there, at most {@code destination.remaining()} bytes, into a direct buffer from
   * its position; blocks while the pipe is empty and has a writer.
   *
   * @return bytes read, or -1 at the end: the pipe is empty and nobody can write into it
   */
  public int read(ByteBuffer destination) throws IOException {
    long address = Kernel.addressOf(destination) + destination.position();
    long count;
    try {
      count = Kernel.restarted(Kernel.READ, readFd, address, destination.remaining());
    } finally {
      Reference.reachabilityFence(destination);
    }
    ErrnoException.check(count, "reading from a pipe");
    destination.position(destination.position() + (int) count);
    return count == 0 && destination.hasRemaining() ? -1 : (int) count;
  }

  /**
   * Waits until {@link #read} would not block: there are bytes, or no writer is left.
   *
   * @param timeoutMs milliseconds; 0 asks without waiting, negative waits for ever
   * @return whether it would not block; false after the timeout
   */
  public boolean awaitReadable(int timeoutMs) throws IOException {
    return Poll.readable(readFd, timeoutMs, scratch, scratchAddress);
  }

  /** Number of bytes in the pipe now. */
  public int bytesAvailable() throws IOException {
    ErrnoException.check(
        Kernel.call(Kernel.IOCTL, readFd, FIONREAD, scratchAddress), "bytes in a pipe");
    return scratch.getInt(0);
  }

  @Override
  public void close() {
    closeWrite();
    closeRead();
  }

  /** poll(2) of one descriptor. */
  static final class Poll {
    private Poll() {}

    /** {@code scratch}: 8 bytes for a struct pollfd. */
    static boolean readable(int fd, int timeoutMs, ByteBuffer scratch, long scratchAddress)
        throws IOException {
      long deadlineNs = System.nanoTime() + timeoutMs * 1_000_000L;
      int leftMs = timeoutMs;
      while (true) {
        scratch.putInt(0, fd).putShort(4, POLLIN).putShort(6, (short) 0);
        long ready = Kernel.call(Kernel.POLL, scratchAddress, 1, leftMs);
        if (ready != -Errno.EINTR) {
          return ErrnoException.check(ready, "poll of descriptor " + fd) > 0;
        }
        if (timeoutMs >= 0) {
          leftMs = (int) Math.max(0, (deadlineNs - System.nanoTime()) / 1_000_000);
        }
      }
    }
  }
}
