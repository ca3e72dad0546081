package org.understudy.output;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;

/**
 * One network interface of the guest: the stream of what it sends, what is held of it, and the way
 * back into QEMU, which sends it on. The holder's thread alone.
 */
final class HeldInterface {
  /** A mark has to be taken while the guest sends, too: more than this waits for the next one. */
  private static final int READS_AT_ONCE = 64;

  private final String alias;
  private final HeldPackets packets;
  private SocketChannel from;
  private SocketChannel back;
  private SelectionKey backKey;

  HeldInterface(String alias, int bytes, LatencyHistogram held) {
    this.alias = alias;
    packets = new HeldPackets(bytes, held);
  }

  String alias() {
    return alias;
  }

  HeldPackets packets() {
    return packets;
  }

  /** Whether QEMU is connected both ways. */
  boolean connected() {
    return from != null && back != null;
  }

  void sends(SocketChannel channel, Selector selector) throws IOException {
    from = channel;
    channel.register(selector, SelectionKey.OP_READ, this);
  }

  void takesBack(SocketChannel channel, Selector selector) throws IOException {
    back = channel;
    backKey = channel.register(selector, SelectionKey.OP_READ, this);
    flush(System.nanoTime());
  }

  /** Takes in what has arrived; it has to be read always, for QEMU waits in its write. */
  void readAll(ByteBuffer scratch, long nowNs) throws IOException {
    for (int i = 0; i < READS_AT_ONCE && from != null; i++) {
      scratch.clear();
      int bytes = from.read(scratch);
      if (bytes < 0) {
        close();
      }
      if (bytes <= 0) {
        return;
      }
      packets.take(scratch.flip(), nowNs);
    }
  }

  void release(long mark, long nowNs) throws IOException {
    packets.release(mark);
    flush(nowNs);
  }

  /** Writes what was released; goes on by itself when QEMU takes more. */
  void flush(long nowNs) throws IOException {
    if (back != null) {
      boolean all = packets.writeTo(back, nowNs);
      backKey.interestOps(
          all ? SelectionKey.OP_READ : SelectionKey.OP_READ | SelectionKey.OP_WRITE);
    }
  }

  void ready(SelectionKey key, ByteBuffer scratch, long nowNs) throws IOException {
    if (key.channel() == from) {
      readAll(scratch, nowNs);
    } else if (key.isWritable()) {
      flush(nowNs);
    } else if (back != null) {
      scratch.clear();
      if (back.read(scratch) < 0) {
        close();
      }
    }
  }

  void close() {
    for (SocketChannel channel : new SocketChannel[] {from, back}) {
      try {
        if (channel != null) {
          channel.close();
        }
      } catch (IOException e) {
        // gone either way
      }
    }
    from = null;
    back = null;
  }
}
