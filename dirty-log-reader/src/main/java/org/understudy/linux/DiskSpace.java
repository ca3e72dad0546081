package org.understudy.linux;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** Room of a file system that is set aside for a file before anything is written to it. */
public final class DiskSpace {
  private static final int AT_FDCWD = -100;
  private static final int O_WRONLY_CLOEXEC = 1 | 0x80000;
  private static final int FALLOC_FL_KEEP_SIZE = 1;

  private DiskSpace() {}

  /**
   * Sets room aside for the bytes from {@code offset} to before {@code offset + bytes}, in as few
   * pieces as the file system can; the file's length and content stay (fallocate(2)).
   *
   * @throws ErrnoException ENOSPC: there is not so much; EOPNOTSUPP: this file system cannot do it
   */
  public static void reserve(Path file, long offset, long bytes) throws IOException {
    byte[] path = (file + "\0").getBytes(StandardCharsets.UTF_8);
    ByteBuffer direct = Kernel.allocate(path.length).put(path);
    int fd =
        (int)
            ErrnoException.check(
                Kernel.call(Kernel.OPENAT, AT_FDCWD, Kernel.addressOf(direct), O_WRONLY_CLOEXEC),
                "opening " + file);
    try {
      ErrnoException.check(
          Kernel.call(Kernel.FALLOCATE, fd, FALLOC_FL_KEEP_SIZE, offset, bytes),
          "reserving %d bytes from %d of %s".formatted(bytes, offset, file));
    } finally {
      Kernel.close(fd);
    }
  }
}
