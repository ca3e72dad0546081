package org.understudy.testbed;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

/**
 * A process that carries TCP connections on, so that a connection can be killed, stopped and
 * continued from outside as a process can: {@code TcpRelay LISTEN-HOST LISTEN-PORT HOST PORT}.
 */
public final class TcpRelay {
  private static final int BYTES = 256 << 10;

  private TcpRelay() {}

  /** Runs until it is killed. */
  public static void main(String[] arguments) throws IOException {
    InetSocketAddress to = new InetSocketAddress(arguments[2], Integer.parseInt(arguments[3]));
    try (ServerSocketChannel server = ServerSocketChannel.open()) {
      server.setOption(StandardSocketOptions.SO_REUSEADDR, true);
      server.bind(new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1])));
      while (true) {
        SocketChannel near = server.accept();
        try {
          SocketChannel far = SocketChannel.open(to);
          near.setOption(StandardSocketOptions.TCP_NODELAY, true);
          far.setOption(StandardSocketOptions.TCP_NODELAY, true);
          start(near, far);
          start(far, near);
        } catch (IOException unreachable) {
          near.close();
        }
      }
    }
  }

  private static void start(SocketChannel from, SocketChannel to) {
    Thread thread = new Thread(() -> carry(from, to), "relay");
    thread.setDaemon(true);
    thread.start();
  }

  private static void carry(SocketChannel from, SocketChannel to) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(BYTES);
    try (from;
        to) {
      while (from.read(buffer) >= 0) {
        buffer.flip();
        while (buffer.hasRemaining()) {
          to.write(buffer);
        }
        buffer.clear();
      }
    } catch (IOException ended) {
      // The other direction ends with it.
    }
  }
}
