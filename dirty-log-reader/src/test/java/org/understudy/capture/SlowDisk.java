package org.understudy.capture;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;

/** A disk of zeros over NBD (doc/proto.md of nbd) that takes its time to flush. */
final class SlowDisk implements AutoCloseable {
  private static final int BYTES = 1 << 20;
  private static final int FLAGS = 1 | 1 << 2; // HAS_FLAGS, SEND_FLUSH

  final CountDownLatch flushing = new CountDownLatch(1);
  private final ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
  private final long flushMs;

  SlowDisk(Path socket, long flushMs) throws IOException {
    this.flushMs = flushMs;
    server.bind(UnixDomainSocketAddress.of(socket));
    Thread thread = new Thread(this::serve, "slow-disk");
    thread.setDaemon(true);
    thread.start();
  }

  private void serve() {
    while (server.isOpen()) {
      try (SocketChannel client = server.accept()) {
        talk(
            new DataInputStream(Channels.newInputStream(client)),
            new DataOutputStream(Channels.newOutputStream(client)));
      } catch (IOException | InterruptedException ended) {
        // QEMU has gone, or the test is over.
      }
    }
  }

  private void talk(DataInputStream in, DataOutputStream out)
      throws IOException, InterruptedException {
    out.writeLong(0x4e42444d41474943L); // NBDMAGIC
    out.writeLong(0x49484156454f5054L); // IHAVEOPT
    out.writeShort(3); // FIXED_NEWSTYLE, NO_ZEROES
    in.readInt();
    while (true) {
      in.readLong();
      int option = in.readInt();
      in.skipNBytes(in.readInt());
      if (option == 7) { // GO
        reply(out, option, 3, 12); // INFO
        out.writeShort(0);
        out.writeLong(BYTES);
        out.writeShort(FLAGS);
        reply(out, option, 1, 0); // ACK
        break;
      }
      reply(out, option, 0x80000001, 0); // UNSUP
    }
    while (true) {
      in.readInt();
      int type = in.readInt(); // flags and type
      long cookie = in.readLong();
      in.readLong();
      int length = in.readInt();
      switch (type & 0xffff) {
        case 1 -> in.skipNBytes(length);
        case 2 -> {
          return;
        }
        case 3 -> {
          flushing.countDown();
          Thread.sleep(flushMs);
        }
        default -> {}
      }
      out.writeInt(0x67446698);
      out.writeInt(0);
      out.writeLong(cookie);
      if ((type & 0xffff) == 0) {
        out.write(new byte[length]);
      }
    }
  }

  private static void reply(DataOutputStream out, int option, int type, int length)
      throws IOException {
    out.writeLong(0x3e889045565a9L);
    out.writeInt(option);
    out.writeInt(type);
    out.writeInt(length);
  }

  @Override
  public void close() throws IOException {
    server.close();
  }
}
