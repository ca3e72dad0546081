package org.understudy.linux;

import java.io.IOException;

/** A system call failed. The message names the call, what it was asked for, and the error. */
public final class ErrnoException extends IOException {
  private static final long serialVersionUID = 1;
  private final int errno;

  ErrnoException(String what, int errno) {
    super(what + ": " + Errno.text(errno));
    this.errno = errno;
  }

  /** The error number, one of {@link Errno}'s or another of Linux's. */
  public int errno() {
    return errno;
  }

  /** Returns {@code result} if it is not negative; else it is minus the errno of {@code what}. */
  static long check(long result, String what) throws ErrnoException {
    if (result < 0) {
      throw new ErrnoException(what, (int) -result);
    }
    return result;
  }
}
