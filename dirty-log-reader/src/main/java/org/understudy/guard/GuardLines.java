package org.understudy.guard;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;

/** Lines of text over a non-blocking socket, each of at most {@value #LIMIT} bytes. */
public final class GuardLines {
  static final int LIMIT = 1024;

  private final SocketChannel channel;
  private final ByteBuffer in = ByteBuffer.allocate(LIMIT);

  public GuardLines(SocketChannel channel) {
    this.channel = channel;
  }

  public SocketChannel channel() {
    return channel;
  }

  /** Reads what is there. Returns false once the other side has closed. */
  public boolean fill() throws IOException {
    if (!in.hasRemaining()) {
      throw new IOException("a line of more than " + LIMIT + " bytes");
    }
    return channel.read(in) >= 0;
  }

  /** The next whole line without its end, or null. */
  public String next() {
    for (int i = 0; i < in.position(); i++) {
      if (in.get(i) == '\n') {
        String line = new String(in.array(), 0, i, StandardCharsets.UTF_8);
        in.flip().position(i + 1);
        in.compact();
        return line;
      }
    }
    return null;
  }

  /** Sends a line; fails rather than waits where the other side does not read. */
  public void send(String line) throws IOException {
    ByteBuffer out = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8));
    channel.write(out);
    if (out.hasRemaining()) {
      throw new IOException("the other side does not read");
    }
  }
}
