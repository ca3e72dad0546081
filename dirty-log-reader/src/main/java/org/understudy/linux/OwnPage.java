package org.understudy.linux;

import com.sun.jna.Pointer;
import java.io.IOException;

/**
 * A page of this process's own memory, to try the kernel on. A mapping of its own that never joins
 * another, nor a huge page: nothing else written shows on it.
 */
public final class OwnPage implements AutoCloseable {
  private static final int MMAP = 9;
  private static final int MUNMAP = 11;
  private static final int MADVISE = 28;
  private static final int PROT_READ_WRITE = 3;
  private static final int MAP_PRIVATE_ANONYMOUS = 0x22;
  private static final int MADV_NOHUGEPAGE = 15;
  private static final int PAGE = 4096;

  private final long address;
  private int value;

  /** A new page, not yet there. */
  public OwnPage() throws IOException {
    address =
        ErrnoException.check(
            Kernel.call(MMAP, 0, PAGE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0),
            "mapping a page");
    // A kernel without huge pages does not know the advice.
    Kernel.call(MADVISE, address, PAGE, MADV_NOHUGEPAGE);
  }

  /** Address of its first byte. */
  public long address() {
    return address;
  }

  /** Writes something new into it. */
  public void write() {
    new Pointer(address).setInt(0, ++value);
  }

  @Override
  public void close() {
    Kernel.call(MUNMAP, address, PAGE, 0);
  }
}
