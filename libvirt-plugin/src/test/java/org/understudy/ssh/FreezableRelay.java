package org.understudy.ssh;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Passes bytes on between a client and a server on loopback until told to freeze. */
final class FreezableRelay implements AutoCloseable {
  private final ServerSocket server;
  private final int target;
  private final List<Socket> sockets = new CopyOnWriteArrayList<>();
  private volatile boolean frozen;

  FreezableRelay(int target) throws IOException {
    this.target = target;
    server = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
    thread(this::accept);
  }

  int port() {
    return server.getLocalPort();
  }

  void freeze() {
    frozen = true;
  }

  @Override
  public void close() throws IOException {
    server.close();
    for (Socket socket : sockets) {
      socket.close();
    }
  }

  private void accept() throws IOException {
    while (true) {
      Socket client = server.accept();
      Socket behind = new Socket(InetAddress.getLoopbackAddress(), target);
      sockets.addAll(List.of(client, behind));
      thread(() -> pass(client, behind));
      thread(() -> pass(behind, client));
    }
  }

  private void pass(Socket from, Socket to) throws IOException {
    InputStream in = from.getInputStream();
    OutputStream out = to.getOutputStream();
    byte[] bytes = new byte[65536];
    for (int count = in.read(bytes); count >= 0; count = in.read(bytes)) {
      // Frozen: swallowed, as by a host that hangs, while the sockets stay open.
      if (!frozen) {
        out.write(bytes, 0, count);
      }
    }
    if (!frozen) {
      to.shutdownOutput();
    }
  }

  private interface Work {
    void run() throws IOException;
  }

  private static void thread(Work work) {
    Thread thread =
        new Thread(
            () -> {
              try {
                work.run();
              } catch (IOException e) {
                return; // closed at the end of the test
              }
            });
    thread.setDaemon(true);
    thread.start();
  }
}
