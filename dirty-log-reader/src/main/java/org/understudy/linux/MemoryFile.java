package org.understudy.linux;

import java.io.IOException;
import java.nio.ByteBuffer;

/** A file without a name that lies in memory (memfd_create), close-on-exec, to be passed on. */
public final class MemoryFile implements AutoCloseable {
  private static final int MFD_CLOEXEC = 1;

  private final int fd;

  /**
   * A new one.
   *
   * @param name shown in /proc, nothing else
   * @param content of at least one byte
   */
  public MemoryFile(String name, byte[] content) throws IOException {
    byte[] letters = name.getBytes(java.nio.charset.StandardCharsets.US_ASCII);
    ByteBuffer text = Kernel.allocate(letters.length + 1).put(letters);
    fd =
        (int)
            ErrnoException.check(
                Kernel.call(Kernel.MEMFD_CREATE, Kernel.addressOf(text), MFD_CLOEXEC, 0),
                "memfd_create");
    ByteBuffer bytes = Kernel.allocate(content.length).put(content);
    long written = Kernel.restarted(Kernel.WRITE, fd, Kernel.addressOf(bytes), content.length);
    if (written != content.length) {
      Kernel.close(fd);
      throw new IOException(
          "writing " + content.length + " bytes into memory file " + name + ": " + written);
    }
  }

  /** Its descriptor, until it is closed. */
  public int fd() {
    return fd;
  }

  /** Closes our descriptor; the file goes with its last one. */
  @Override
  public void close() {
    Kernel.close(fd);
  }
}
