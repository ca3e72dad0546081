package org.understudy.linux;

import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * The socket at which a service manager hears from its services: sd_notify(3), one datagram for
 * each word. One thread at a time.
 */
public final class NotifySocket implements AutoCloseable {
  private static final int AF_UNIX = 1;
  private static final int SOCK_DGRAM = 2;
  private static final int SOCK_CLOEXEC = 0x80000;
  private static final int MSG_DONTWAIT = 0x40;
  private static final int MSG_NOSIGNAL = 0x4000;

  private final ByteBuffer address;
  private final int addressBytes;
  private int fd;

  /**
   * A way to the socket at {@code path}, as {@code NOTIFY_SOCKET} names it: a path, or {@code @}
   * and an abstract name.
   */
  public NotifySocket(String path) throws IOException {
    byte[] name = path.getBytes(StandardCharsets.UTF_8);
    if (name.length < 2 || name.length > 107) {
      throw new IOException("notify socket \"" + path + "\" of " + name.length + " bytes");
    }
    boolean inFilesystem = name[0] != '@';
    if (!inFilesystem) {
      name[0] = 0;
    }
    address = Kernel.allocate(2 + 108);
    address.putShort((short) AF_UNIX).put(name);
    addressBytes = 2 + name.length + (inFilesystem ? 1 : 0);
    fd =
        (int)
            ErrnoException.check(
                Kernel.call(Kernel.SOCKET, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  }

  /** Says {@code word}, such as {@code WATCHDOG=1}; fails rather than waits. */
  public void say(String word) throws IOException {
    byte[] bytes = word.getBytes(StandardCharsets.UTF_8);
    ByteBuffer text = Kernel.allocate(bytes.length).put(bytes);
    long sent;
    try {
      sent =
          Kernel.call(
              Kernel.SENDTO,
              fd,
              Kernel.addressOf(text),
              bytes.length,
              MSG_DONTWAIT | MSG_NOSIGNAL,
              Kernel.addressOf(address),
              addressBytes);
    } finally {
      Reference.reachabilityFence(text);
      Reference.reachabilityFence(address);
    }
    ErrnoException.check(sent, "telling the service manager " + word);
  }

  @Override
  public void close() {
    if (fd >= 0) {
      Kernel.close(fd);
      fd = -1;
    }
  }
}
