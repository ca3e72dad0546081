package org.understudy.linux;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The system call instruction: one direct-mapped native method, {@code syscall(2)} of the C
 * library, with six integer arguments. Numbers are those of x86-64 (arch/x86/entry/syscalls/
 * syscall_64.tbl).
 */
final class Kernel {
  static final int READ = 0;
  static final int WRITE = 1;
  static final int CLOSE = 3;
  static final int POLL = 7;
  static final int IOCTL = 16;
  static final int PREAD64 = 17;
  static final int GETPID = 39;
  static final int SOCKET = 41;
  static final int CONNECT = 42;
  static final int SENDTO = 44;
  static final int BIND = 49;
  static final int WAIT4 = 61;
  static final int FCNTL = 72;
  static final int FCHOWN = 93;
  static final int PTRACE = 101;
  static final int MLOCKALL = 151;
  static final int OPENAT = 257;
  static final int FALLOCATE = 285;
  static final int PIPE2 = 293;
  static final int PROCESS_VM_READV = 310;
  static final int PROCESS_VM_WRITEV = 311;
  static final int MEMFD_CREATE = 319;
  static final int USERFAULTFD = 323;
  static final int PIDFD_SEND_SIGNAL = 424;
  static final int PIDFD_OPEN = 434;
  static final int PIDFD_GETFD = 438;

  static {
    String architecture = System.getProperty("os.arch");
    if (!System.getProperty("os.name").equals("Linux") || !architecture.equals("amd64")) {
      throw new UnsupportedOperationException(
          "system calls are known for Linux on x86-64 only, this is "
              + System.getProperty("os.name")
              + " on "
              + architecture);
    }
    Native.register("c");
  }

  private Kernel() {}

  private static native long syscall(long number, long a, long b, long c, long d, long e, long f);

  static native String strerror(int errno);

  /** Makes the call; a negative result is minus the errno. */
  static long call(int number, long a, long b, long c, long d, long e, long f) {
    long result = syscall(number, a, b, c, d, e, f);
    return result == -1 ? -Native.getLastError() : result;
  }

  static long call(int number, long a, long b, long c) {
    return call(number, a, b, c, 0, 0, 0);
  }

  static long call(int number, long a, long b, long c, long d) {
    return call(number, a, b, c, d, 0, 0);
  }

  /** As {@link #call(int, long, long, long)}, again as long as a signal interrupts it. */
  static long restarted(int number, long a, long b, long c) {
    long result;
    do {
      result = call(number, a, b, c);
    } while (result == -Errno.EINTR);
    return result;
  }

  /** Address of byte 0 of a direct buffer, whatever its position. */
  static long addressOf(ByteBuffer direct) {
    if (!direct.isDirect()) {
      throw new IllegalArgumentException("a direct buffer was expected");
    }
    return Pointer.nativeValue(Native.getDirectBufferPointer(direct));
  }

  /** A zeroed direct buffer in the processor's byte order. */
  static ByteBuffer allocate(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
  }

  static void close(int fd) {
    call(CLOSE, fd, 0, 0);
  }
}
