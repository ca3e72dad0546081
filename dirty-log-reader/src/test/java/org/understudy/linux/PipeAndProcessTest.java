package org.understudy.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.FileOutputStream;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

class PipeAndProcessTest {
  @Test
  void pipeOfOnePageFillsWidensDrainsAndEnds() throws Exception {
    try (AnonymousPipe pipe = new AnonymousPipe()) {
      assertEquals(4096, pipe.setSize(1));
      assertFalse(pipe.awaitReadable(0));
      try (FileOutputStream writer = new FileOutputStream("/proc/self/fd/" + pipe.writeFd())) {
        writer.write(new byte[4096]);
        assertTrue(pipe.awaitReadable(0));
        assertEquals(4096, pipe.bytesAvailable());
        assertEquals(1 << 20, pipe.setSize(1 << 20));
        writer.write(new byte[100_000]); // would block in a page
      }
      pipe.closeWrite();
      ByteBuffer all = ByteBuffer.allocateDirect(200_000);
      int count = 0;
      for (int n = pipe.read(all); n >= 0; n = pipe.read(all)) {
        count += n;
      }
      assertEquals(104_096, count);
      assertTrue(pipe.awaitReadable(-1), "an ended pipe does not block");
    }
  }

  @Test
  void processIsAliveUntilItIsKilled() throws Exception {
    Process process = new ProcessBuilder("cat").start();
    try (PidFd held = new PidFd((int) process.pid())) {
      assertTrue(held.isAlive());
      int stdin = held.getFd(0);
      assertTrue(stdin > 2);
      Kernel.close(stdin);
      held.signal(PidFd.SIGKILL);
      assertTrue(held.awaitExit(10_000));
      assertEquals(128 + 9, process.waitFor());
      ErrnoException gone = assertThrows(ErrnoException.class, () -> held.signal(0));
      assertEquals(Errno.ESRCH, gone.errno());
    }
  }
}
