package org.understudy.failover;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;

/**
 * A way between loader and QEMU that can be cut at any byte: what was let through arrives, then
 * comes the end, as when the loader is killed.
 */
final class CutRelay implements AutoCloseable {
  private static final int BYTES = 64 << 10;

  private final Path qemuSocket;
  private final ServerSocketChannel server;
  private SocketChannel loader;
  private SocketChannel qemu;
  private long passed; // from the loader to QEMU
  private long cutAt = Long.MAX_VALUE;

  /** Listens at {@code socket} for one loader and brings it to QEMU at {@code socket} + "-qemu". */
  CutRelay(Path socket) throws IOException {
    qemuSocket = qemuSide(socket);
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(socket));
    start(this::relay);
  }

  static Path qemuSide(Path socket) {
    return socket.resolveSibling(socket.getFileName() + "-qemu");
  }

  /** Lets {@code bytes} more to QEMU and then ends both connections. */
  synchronized void cutAfter(long bytes) {
    cutAt = passed + bytes;
  }

  /** Bytes that went from the loader to QEMU. */
  synchronized long passed() {
    return passed;
  }

  private static void start(Runnable work) {
    Thread thread = new Thread(work, "relay");
    thread.setDaemon(true);
    thread.start();
  }

  private void relay() {
    try {
      loader = server.accept();
      qemu = SocketChannel.open(StandardProtocolFamily.UNIX);
      qemu.connect(UnixDomainSocketAddress.of(qemuSocket));
      start(this::back);
      ByteBuffer buffer = ByteBuffer.allocateDirect(BYTES);
      while (loader.read(buffer) >= 0) {
        buffer.flip();
        boolean cut;
        synchronized (this) {
          cut = passed + buffer.remaining() >= cutAt;
          buffer.limit((int) Math.min(buffer.limit(), cutAt - passed));
          passed += buffer.remaining();
        }
        while (buffer.hasRemaining()) {
          qemu.write(buffer);
        }
        buffer.clear();
        if (cut) {
          break;
        }
      }
    } catch (IOException ended) {
      // One side has gone; the other is told below.
    }
    end();
  }

  private void back() {
    try {
      ByteBuffer buffer = ByteBuffer.allocateDirect(BYTES);
      while (qemu.read(buffer) >= 0) {
        buffer.flip();
        while (buffer.hasRemaining()) {
          loader.write(buffer);
        }
        buffer.clear();
      }
    } catch (IOException ended) {
      // as above
    }
    end();
  }

  private void end() {
    try {
      if (qemu != null) {
        qemu.close();
      }
      if (loader != null) {
        loader.close();
      }
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void close() throws IOException {
    server.close();
    end();
  }
}
