package org.understudy.linux;

import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;

/**
 * The memory of another process, read and written with process_vm_readv(2) and process_vm_writev(2)
 * without stopping it. One thread at a time; allocates nothing per page.
 */
public final class ProcessMemory {
  private static final int PAGE = 4096;
  private static final int IOV_MAX = 1024;

  private final int pid;
  // struct iovec {void *base; size_t len}: entry 0 is ours, 1 to IOV_MAX are the other process's.
  private final ByteBuffer vectors = Kernel.allocate(16 * (1 + IOV_MAX));
  private final long vectorsAddress = Kernel.addressOf(vectors);

  /** Memory of process {@code pid}; whether it exists shows at the first access. */
  public ProcessMemory(int pid) {
    this.pid = pid;
  }

  /** Process id of the process that is read. */
  public int pid() {
    return pid;
  }

  /**
   * Reads pages from anywhere, one after the other into {@code destination}.
   *
   * @param addresses addresses in the other process, of which the first {@code count} are used
   * @param destination direct buffer; {@code count} x 4096 bytes are put from its position, which
   *     advances
   * @throws ErrnoException EFAULT: an address is not mapped there (the message names it); ESRCH:
   *     the process is gone; EPERM. The buffer's position is then unchanged and its content
   *     undefined.
   */
  public void readPages(long[] addresses, int count, ByteBuffer destination) throws IOException {
    room(destination, (long) count * PAGE);
    long local = Kernel.addressOf(destination) + destination.position();
    int from = 0;
    while (from < count) {
      int entries = 0;
      int to = from;
      while (to < count) {
        if (to > from && addresses[to] == addresses[to - 1] + PAGE) {
          int at = 16 * entries + 8; // of the last entry, whose index is entries (0 is ours)
          vectors.putLong(at, vectors.getLong(at) + PAGE);
        } else if (entries < IOV_MAX) {
          entries++;
          vectors.putLong(16 * entries, addresses[to]);
          vectors.putLong(16 * entries + 8, PAGE);
        } else {
          break;
        }
        to++;
      }
      try {
        transfer(Kernel.PROCESS_VM_READV, local, (long) (to - from) * PAGE, entries);
      } finally {
        Reference.reachabilityFence(destination);
      }
      local += (long) (to - from) * PAGE;
      from = to;
    }
    destination.position(destination.position() + count * PAGE);
  }

  /**
   * Reads {@code destination.remaining()} bytes from {@code address} on; errors as for {@link
   * #readPages}.
   */
  public void read(long address, ByteBuffer destination) throws IOException {
    whole(Kernel.PROCESS_VM_READV, address, destination);
  }

  /** Writes {@code source.remaining()} bytes from {@code address} on, into writable memory only. */
  public void write(long address, ByteBuffer source) throws IOException {
    whole(Kernel.PROCESS_VM_WRITEV, address, source);
  }

  private void whole(int call, long address, ByteBuffer buffer) throws IOException {
    vectors.putLong(16, address);
    vectors.putLong(24, buffer.remaining());
    try {
      transfer(call, Kernel.addressOf(buffer) + buffer.position(), buffer.remaining(), 1);
    } finally {
      Reference.reachabilityFence(buffer);
    }
    buffer.position(buffer.limit());
  }

  /** One vectored call, repeated from where the kernel stopped until all of it is done. */
  private void transfer(int call, long local, long bytes, int entries) throws IOException {
    int first = 1;
    while (bytes > 0) {
      vectors.putLong(0, local);
      vectors.putLong(8, bytes);
      long remote = vectorsAddress + 16L * first;
      long done = Kernel.call(call, pid, vectorsAddress, 1, remote, entries, 0);
      if (done <= 0) {
        throw failure(call, vectors.getLong(16 * first), bytes, done);
      }
      local += done;
      bytes -= done;
      // A partial transfer ends at an address that cannot be read, or at a limit of the kernel's;
      // the next call, from there on, tells which.
      while (done > 0) {
        long length = vectors.getLong(16 * first + 8);
        if (done >= length) {
          done -= length;
          first++;
          entries--;
        } else {
          vectors.putLong(16 * first, vectors.getLong(16 * first) + done);
          vectors.putLong(16 * first + 8, length - done);
          done = 0;
        }
      }
    }
  }

  private ErrnoException failure(int call, long address, long bytes, long result) {
    int errno = result == 0 ? Errno.EFAULT : (int) -result;
    String verb = call == Kernel.PROCESS_VM_READV ? "reading" : "writing";
    return new ErrnoException(
        "%s %d bytes of process %d from address 0x%x".formatted(verb, bytes, pid, address), errno);
  }

  private static void room(ByteBuffer destination, long bytes) {
    if (destination.remaining() < bytes) {
      throw new IllegalArgumentException(
          bytes + " bytes into a buffer with room for " + destination.remaining());
    }
  }
}
