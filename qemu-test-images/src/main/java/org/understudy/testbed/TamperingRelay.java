package org.understudy.testbed;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A bad wire: carries TCP connections on, and does to the bytes what a file says, once, which it
 * then deletes. {@code TamperingRelay HOST PORT TO-HOST TO-PORT FILE}; the file says {@code flip
 * to}, {@code flip from}, {@code cut to} or {@code cut from}: whether a bit of the next large piece
 * is flipped, or half of it swallowed and the connection ended, and on which way.
 */
public final class TamperingRelay {
  /** Smaller pieces are heartbeats and the like. */
  private static final int LARGE_BYTES = 4 << 10;

  private static final int BYTES = 64 << 10;

  private TamperingRelay() {}

  /** Runs until it is killed. */
  public static void main(String[] arguments) throws IOException {
    Path orders = Path.of(arguments[4]);
    try (ServerSocketChannel server = ServerSocketChannel.open()) {
      server.bind(new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1])));
      while (true) {
        SocketChannel near = server.accept();
        SocketChannel far =
            SocketChannel.open(new InetSocketAddress(arguments[2], Integer.parseInt(arguments[3])));
        start(near, far, orders, "to", LARGE_BYTES);
        start(far, near, orders, "from", 1);
      }
    }
  }

  private static void start(
      SocketChannel from, SocketChannel to, Path orders, String way, int large) {
    Thread thread = new Thread(() -> carry(from, to, orders, way, large), "relay-" + way);
    thread.setDaemon(true);
    thread.start();
  }

  private static void carry(
      SocketChannel from, SocketChannel to, Path orders, String way, int large) {
    ByteBuffer buffer = ByteBuffer.allocateDirect(BYTES);
    try (from;
        to) {
      while (from.read(buffer.clear()) >= 0) {
        buffer.flip();
        String order = buffer.remaining() >= large ? order(orders, way) : "";
        int middle = buffer.remaining() / 2;
        if (order.startsWith("flip")) {
          buffer.put(middle, (byte) (buffer.get(middle) ^ 1));
        } else if (order.startsWith("cut")) {
          buffer.limit(middle);
        }
        while (buffer.hasRemaining()) {
          to.write(buffer);
        }
        if (order.startsWith("cut")) {
          return;
        }
      }
    } catch (IOException ended) {
      // The other direction ends with it.
    }
  }

  /** What is to be done to this piece; empty for nothing. */
  private static synchronized String order(Path orders, String way) throws IOException {
    if (!Files.exists(orders)) {
      return "";
    }
    String order = Files.readString(orders).strip();
    if (!order.endsWith(" " + way)) {
      return "";
    }
    Files.delete(orders);
    return order;
  }
}
