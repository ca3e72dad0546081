package org.understudy.standby;

import java.io.IOException;
import java.nio.ByteBuffer;

/** The way to a QEMU that waits for pages, and what comes back. Written by one thread. */
public interface GuestStream {
  /** Where the return path arrives. */
  Inbox inbox();

  /** Writes what is between position and limit; fails when QEMU takes nothing any more. */
  void write(ByteBuffer buffer) throws IOException;
}
