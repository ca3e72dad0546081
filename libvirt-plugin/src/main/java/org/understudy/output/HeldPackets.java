package org.understudy.output;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;

/**
 * What one network interface of the guest has sent and the world has not got: a ring of packets as
 * QEMU's filter-redirector writes them, a big-endian length of four bytes before each. Positions
 * count the bytes kept since the beginning; a mark is a position between two packets. A packet that
 * finds no room is dropped, as a network would do. Nothing is allocated for a packet. One thread.
 */
final class HeldPackets {
  /** QEMU's NET_BUFSIZE is 68 KiB. */
  static final int LONGEST_PACKET = 1 << 17;

  private static final int HEADER = 4;
  private static final int PACKETS = 1 << 14;

  private final ByteBuffer ring;
  private final ByteBuffer view; // of the ring, for what is written
  private final int capacity;
  private final LatencyHistogram held;
  private final long[] ends = new long[PACKETS];
  private final long[] arrivals = new long[PACKETS];
  private long firstPacket; // not written out
  private long firstHeld; // not released
  private long nextPacket;
  private long read; // end of what was taken in
  private long whole; // end of the last whole packet
  private long released;
  private long written;
  private long dropped;
  // the packet that is coming in
  private int headerBytes;
  private int length;
  private int left;
  private boolean keep;

  /**
   * @param bytes the ring's size
   * @param held where the time that each packet was held goes
   */
  HeldPackets(int bytes, LatencyHistogram held) {
    ring = ByteBuffer.allocateDirect(bytes);
    view = ring.duplicate();
    capacity = bytes;
    this.held = held;
  }

  /**
   * Takes in all that {@code in} has.
   *
   * @throws IOException it is no stream of packets
   */
  void take(ByteBuffer in, long nowNs) throws IOException {
    while (in.hasRemaining()) {
      if (left == 0) {
        length = (length << 8) | (in.get() & 0xff);
        headerBytes++;
        if (headerBytes == HEADER) {
          beginPacket();
        }
        continue;
      }
      int bytes = Math.min(left, in.remaining());
      if (keep) {
        copy(in, bytes);
      } else {
        in.position(in.position() + bytes);
      }
      left -= bytes;
      if (left == 0) {
        endPacket(nowNs);
      }
    }
  }

  private void beginPacket() throws IOException {
    if (length <= 0 || length > LONGEST_PACKET) {
      throw new IOException(
          "a packet of %d bytes after %d packets, expected 1 to %d"
              .formatted(length, nextPacket + dropped, LONGEST_PACKET));
    }
    keep = capacity - (read - written) >= HEADER + length && nextPacket - firstPacket < ends.length;
    if (keep) {
      for (int shift = 24; shift >= 0; shift -= 8) {
        ring.put((int) (read++ % capacity), (byte) (length >> shift));
      }
    } else {
      dropped++;
    }
    left = length;
    length = 0;
    headerBytes = 0;
  }

  private void endPacket(long nowNs) {
    if (keep) {
      whole = read;
      int slot = (int) (nextPacket++ % ends.length);
      ends[slot] = whole;
      arrivals[slot] = nowNs;
    }
  }

  private void copy(ByteBuffer in, int bytes) {
    for (int done = 0; done < bytes; ) {
      int at = (int) (read % capacity);
      int now = Math.min(bytes - done, capacity - at);
      ring.put(at, in, in.position(), now);
      in.position(in.position() + now);
      read += now;
      done += now;
    }
  }

  /** The position behind the last whole packet. */
  long mark() {
    return whole;
  }

  /** Lets all packets before a mark go. */
  void release(long mark) {
    released = Math.max(released, Math.min(mark, whole));
    while (firstHeld < nextPacket && ends[(int) (firstHeld % ends.length)] <= released) {
      firstHeld++;
    }
  }

  /**
   * Writes what was released, as far as the channel takes it.
   *
   * @return whether all of it is written
   */
  boolean writeTo(WritableByteChannel channel, long nowNs) throws IOException {
    boolean taken = true;
    while (written < released && taken) {
      int at = (int) (written % capacity);
      int bytes = (int) Math.min(released - written, capacity - at);
      view.limit(at + bytes).position(at);
      int now = channel.write(view);
      taken = now > 0;
      written += now;
    }
    while (firstPacket < firstHeld && ends[(int) (firstPacket % ends.length)] <= written) {
      held.add(nowNs - arrivals[(int) (firstPacket % ends.length)]);
      firstPacket++;
    }
    return written == released;
  }

  /** Number of packets that wait for their release. */
  long heldPackets() {
    return nextPacket - firstHeld;
  }

  /** Bytes that are kept, released or not. */
  long bytes() {
    return read - written;
  }

  /** Number of packets written out. */
  long passed() {
    return firstPacket;
  }

  /** Number of packets that found no room. */
  long dropped() {
    return dropped;
  }

  /** Nanoseconds that the oldest packet has waited for its release, 0 if none waits. */
  long waitedNs(long nowNs) {
    return firstHeld == nextPacket ? 0 : nowNs - arrivals[(int) (firstHeld % arrivals.length)];
  }
}
