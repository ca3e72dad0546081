package org.understudy.linux;

/** This process's memory as a whole. */
public final class OwnMemory {
  // mman.h
  private static final int MCL_CURRENT = 1;
  private static final int MCL_FUTURE = 2;
  private static final int MCL_ONFAULT = 4;

  private OwnMemory() {}

  /**
   * Keeps in memory whatever is there now or will be touched later: nothing of it, programs
   * included, is written out or dropped when memory is short (mlockall(2)). What was never touched
   * stays where it is, so that a JVM's mapped files do not all come in.
   *
   * @throws ErrnoException ENOMEM or EPERM: neither the limit on locked memory nor a capability
   *     allows it
   */
  public static void lock() throws ErrnoException {
    ErrnoException.check(
        Kernel.call(Kernel.MLOCKALL, MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT, 0, 0),
        "locking this process's memory");
  }
}
