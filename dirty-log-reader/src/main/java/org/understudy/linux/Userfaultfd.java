package org.understudy.linux;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A userfaultfd(2) with asynchronous write protection: the kernel notes a write by lifting the
 * page's protection, and nobody has to answer. It belongs to the address space of the process that
 * created it. Closing the last descriptor undoes everything.
 */
public final class Userfaultfd implements AutoCloseable {
  /** Number of the system call on x86-64. */
  public static final int SYSTEM_CALL = Kernel.USERFAULTFD;

  /** O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY: the last lets an unprivileged process do it. */
  public static final int FLAGS = 0x80000 | 0x800 | 1;

  /** UFFD_FEATURE_WP_ASYNC, Linux 6.7. */
  public static final long FEATURE_WP_ASYNC = 1 << 15;

  private static final long FEATURE_PAGEFAULT_FLAG_WP = 1;
  private static final long FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12;
  private static final long FEATURE_WP_UNPOPULATED = 1 << 13;
  private static final long API = 0xaa;
  private static final long UFFDIO_API = 0xc018aa3fL;
  private static final long UFFDIO_REGISTER = 0xc020aa00L;
  private static final long REGISTER_MODE_WP = 2;

  private final ByteBuffer scratch = Kernel.allocate(32);
  private final long scratchAddress = Kernel.addressOf(scratch);
  private int fd;

  /** Takes over descriptor {@code fd} of this process, a fresh userfaultfd, and initialises it. */
  public Userfaultfd(int fd) throws IOException {
    this.fd = fd;
    try {
      scratch.putLong(0, API);
      scratch.putLong(
          8,
          FEATURE_PAGEFAULT_FLAG_WP
              | FEATURE_WP_HUGETLBFS_SHMEM
              | FEATURE_WP_UNPOPULATED
              | FEATURE_WP_ASYNC);
      ErrnoException.check(
          Kernel.call(Kernel.IOCTL, fd, UFFDIO_API, scratchAddress),
          "asynchronous write protection (UFFD_FEATURE_WP_ASYNC, Linux 6.7)");
    } catch (ErrnoException e) {
      close();
      throw e;
    }
  }

  /** One for this process's own memory. */
  public static Userfaultfd ofThisProcess() throws IOException {
    return new Userfaultfd(
        (int)
            ErrnoException.check(
                Kernel.call(Kernel.USERFAULTFD, FLAGS, 0, 0), "creating a userfaultfd"));
  }

  /**
   * Puts a range under write protection mode; no page is protected yet.
   *
   * @throws ErrnoException EBUSY: another userfaultfd has it; EINVAL: not mapped there; EPERM: the
   *     mapping can never be written
   */
  public void register(long start, long bytes) throws IOException {
    scratch.putLong(0, start).putLong(8, bytes).putLong(16, REGISTER_MODE_WP).putLong(24, 0);
    ErrnoException.check(
        Kernel.call(Kernel.IOCTL, fd, UFFDIO_REGISTER, scratchAddress),
        "registering %d bytes from 0x%x".formatted(bytes, start));
  }

  @Override
  public void close() {
    if (fd >= 0) {
      Kernel.close(fd);
      fd = -1;
    }
  }
}
