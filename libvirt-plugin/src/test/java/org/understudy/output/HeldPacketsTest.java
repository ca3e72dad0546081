package org.understudy.output;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class HeldPacketsTest {
  /** QEMU's end: takes what it likes. */
  private static final class Taker implements WritableByteChannel {
    private final ByteArrayOutputStream taken = new ByteArrayOutputStream();
    private int room = Integer.MAX_VALUE;

    @Override
    public int write(ByteBuffer source) {
      byte[] bytes = new byte[Math.min(room, source.remaining())];
      source.get(bytes);
      taken.writeBytes(bytes);
      room -= bytes.length;
      return bytes.length;
    }

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }

  private static byte[] packet(int length, int fill) {
    ByteBuffer packet = ByteBuffer.allocate(4 + length).putInt(length);
    while (packet.hasRemaining()) {
      packet.put((byte) fill);
    }
    return packet.array();
  }

  @Test
  void whatIsBehindTheMarkStaysHeld() throws IOException {
    HeldPackets packets = new HeldPackets(4096, new LatencyHistogram());
    Taker qemu = new Taker();
    packets.take(ByteBuffer.wrap(packet(100, 1)), 10);
    long mark = packets.mark();
    packets.take(ByteBuffer.wrap(packet(50, 2)), 20);
    assertTrue(packets.writeTo(qemu, 30), "nothing is released");
    assertEquals(0, qemu.taken.size());
    assertEquals(20, packets.waitedNs(30));
    packets.release(mark);
    packets.writeTo(qemu, 30);
    assertArrayEquals(packet(100, 1), qemu.taken.toByteArray());
    assertEquals(1, packets.heldPackets());
    assertEquals(10, packets.waitedNs(30));
  }

  @Test
  void aMarkLiesBetweenTwoPacketsWhateverHasArrived() throws IOException {
    HeldPackets packets = new HeldPackets(4096, new LatencyHistogram());
    byte[] second = packet(50, 2);
    packets.take(ByteBuffer.wrap(packet(100, 1)), 0);
    packets.take(ByteBuffer.wrap(second, 0, 30), 0);
    packets.release(packets.mark());
    Taker qemu = new Taker();
    packets.writeTo(qemu, 0);
    assertArrayEquals(packet(100, 1), qemu.taken.toByteArray());
    packets.take(ByteBuffer.wrap(second, 30, 24), 0);
    packets.release(packets.mark());
    packets.writeTo(qemu, 0);
    assertEquals(104 + 54, qemu.taken.size());
  }

  @Test
  void aFullRingDropsWholePacketsAndCountsThem() throws IOException {
    HeldPackets packets = new HeldPackets(1000, new LatencyHistogram());
    for (int i = 0; i < 5; i++) {
      packets.take(ByteBuffer.wrap(packet(296, i)), 0);
    }
    assertEquals(3, packets.heldPackets());
    assertEquals(2, packets.dropped());
    packets.release(packets.mark());
    Taker qemu = new Taker();
    packets.writeTo(qemu, 0);
    packets.take(ByteBuffer.wrap(packet(296, 9)), 0);
    assertEquals(1, packets.heldPackets(), "there is room again");
  }

  @Test
  void aPacketOfImpossibleLengthIsRefused() {
    HeldPackets packets = new HeldPackets(1000, new LatencyHistogram());
    ByteBuffer zero = ByteBuffer.allocate(4);
    assertThrows(IOException.class, () -> packets.take(zero, 0));
    ByteBuffer huge = ByteBuffer.allocate(4).putInt(0, HeldPackets.LONGEST_PACKET + 1);
    assertThrows(
        IOException.class, () -> new HeldPackets(1000, new LatencyHistogram()).take(huge, 0));
  }

  /** Random pieces, marks, releases and a slow taker, against a list of bytes. */
  @Test
  void packetsComeOutAsTheyWentInAndNeverBeforeTheirRelease() throws IOException {
    long seed = System.nanoTime();
    SplittableRandom random = new SplittableRandom(seed);
    HeldPackets packets = new HeldPackets(1 << 16, new LatencyHistogram());
    Taker qemu = new Taker();
    ByteArrayOutputStream sent = new ByteArrayOutputStream();
    byte[] coming = packet(1 + random.nextInt(3000), 0);
    int at = 0;
    int allowed = 0;
    for (int step = 0; step < 200_000; step++) {
      switch (random.nextInt(4)) {
        case 0, 1 -> {
          if (packets.bytes() > (1 << 16) - 8000) {
            break; // what is dropped has a test of its own
          }
          int bytes = Math.min(coming.length - at, 1 + random.nextInt(2000));
          packets.take(ByteBuffer.wrap(coming, at, bytes), step);
          at += bytes;
          if (at == coming.length) {
            sent.writeBytes(coming);
            coming = packet(1 + random.nextInt(3000), step);
            at = 0;
          }
        }
        case 2 -> {
          packets.release(packets.mark());
          allowed = sent.size();
        }
        default -> {
          qemu.room = random.nextInt(5000);
          packets.writeTo(qemu, step);
          assertFalse(qemu.taken.size() > allowed, "seed " + seed + ", step " + step);
        }
      }
    }
    packets.release(packets.mark());
    qemu.room = Integer.MAX_VALUE;
    packets.writeTo(qemu, 0);
    assertArrayEquals(sent.toByteArray(), qemu.taken.toByteArray(), "seed " + seed);
    assertEquals(0, packets.dropped());
    assertTrue(packets.passed() > 1000, packets.passed() + " packets only, seed " + seed);
  }

  @Test
  void quantilesAreAtMostAnEighthTooLarge() {
    LatencyHistogram histogram = new LatencyHistogram();
    for (int us = 1; us <= 10_000; us++) {
      histogram.add(us * 1000L);
    }
    for (double share : new double[] {0.01, 0.5, 0.99, 1}) {
      long exact = Math.round(10_000 * share);
      long told = histogram.quantileUs(share);
      assertTrue(told >= exact && told <= exact + exact / 8 + 1, share + ": " + told);
    }
    histogram.turn();
    histogram.turn();
    assertEquals(0, histogram.count());
  }
}
