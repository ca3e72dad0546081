package org.understudy.linux;

import java.nio.ByteBuffer;

/** A page of this process's own memory, to try the kernel on. */
public final class OwnPage {
  private static final int PAGE = 4096;
  private final ByteBuffer memory = Kernel.allocate(2 * PAGE);
  private final long address = (Kernel.addressOf(memory) + PAGE - 1) & -PAGE;
  private int value;

  /** Address of its first byte. */
  public long address() {
    return address;
  }

  /** Writes something new into it. */
  public void write() {
    memory.putInt((int) (address - Kernel.addressOf(memory)), ++value);
  }
}
