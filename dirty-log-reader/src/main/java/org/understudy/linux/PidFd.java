package org.understudy.linux;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A process, held so that its number cannot come to mean another one (pidfd_open(2)). One thread at
 * a time.
 */
public final class PidFd implements AutoCloseable {
  /** Signal number: end at once. */
  public static final int SIGKILL = 9;

  /** Signal number: go on after a stop. */
  public static final int SIGCONT = 18;

  /** Signal number: stop. */
  public static final int SIGSTOP = 19;

  /** Signal number: please end. */
  public static final int SIGTERM = 15;

  private final int pid;
  private final ByteBuffer scratch = Kernel.allocate(8);
  private final long scratchAddress = Kernel.addressOf(scratch);
  private int fd;

  /**
   * Holds process {@code pid}.
   *
   * @throws ErrnoException ESRCH: there is no such process
   */
  public PidFd(int pid) throws IOException {
    this.pid = pid;
    fd =
        (int)
            ErrnoException.check(
                Kernel.call(Kernel.PIDFD_OPEN, pid, 0, 0), "opening process " + pid);
  }

  /** The process id. */
  public int pid() {
    return pid;
  }

  /** Our descriptor for the process, close-on-exec, or -1 once closed. */
  public int fd() {
    return fd;
  }

  /** Whether the process still runs (a zombie does not). */
  public boolean isAlive() throws IOException {
    return !awaitExit(0);
  }

  /**
   * Waits for the end of the process.
   *
   * @param timeoutMs milliseconds; 0 asks without waiting, negative waits for ever
   * @return whether it has ended
   */
  public boolean awaitExit(int timeoutMs) throws IOException {
    return AnonymousPipe.Poll.readable(fd, timeoutMs, scratch, scratchAddress);
  }

  /**
   * Sends a signal.
   *
   * @throws ErrnoException ESRCH: the process has ended
   */
  public void signal(int signal) throws IOException {
    ErrnoException.check(
        Kernel.call(Kernel.PIDFD_SEND_SIGNAL, fd, signal, 0, 0),
        "sending signal " + signal + " to process " + pid);
  }

  /**
   * Copies a descriptor of that process into ours, close-on-exec.
   *
   * @return our descriptor for the same open file; the caller closes it
   */
  public int getFd(int theirFd) throws IOException {
    return (int)
        ErrnoException.check(
            Kernel.call(Kernel.PIDFD_GETFD, fd, theirFd, 0),
            "copying descriptor " + theirFd + " of process " + pid);
  }

  @Override
  public void close() {
    if (fd >= 0) {
      Kernel.close(fd);
      fd = -1;
    }
  }
}
