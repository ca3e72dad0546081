package org.understudy.guard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class GuardDatagramTest {
  private final byte[] key = new byte[GuardDatagram.KEY_BYTES];
  private final UUID session = new UUID(7, 9);

  @Test
  void everyWordComesBackAsItWas() {
    for (GuestState guest : GuestState.values()) {
      for (boolean daemon : new boolean[] {true, false}) {
        GuardDatagram word = new GuardDatagram(session, Long.MAX_VALUE, guest, daemon);
        byte[] bytes = word.encode(GuardDatagram.mac(key));
        assertEquals(GuardDatagram.BYTES, bytes.length);
        assertEquals(Optional.of(word), verify(bytes, bytes.length));
      }
    }
  }

  @Test
  void anyChangedBitAnyOtherLengthAndAnyOtherKeyAreRefused() {
    byte[] bytes =
        new GuardDatagram(session, 1, GuestState.ALIVE, true).encode(GuardDatagram.mac(key));
    for (int bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit / 8] ^= (byte) (1 << bit % 8);
      assertTrue(verify(bytes, bytes.length).isEmpty(), "bit " + bit);
      bytes[bit / 8] ^= (byte) (1 << bit % 8);
    }
    assertTrue(verify(bytes, 63).isEmpty());
    assertTrue(verify(Arrays.copyOf(bytes, 65), 65).isEmpty());
    byte[] other = key.clone();
    other[31]++;
    assertTrue(GuardDatagram.verify(bytes, 64, GuardDatagram.mac(other)).isEmpty());
  }

  @Test
  void aSignedWordWithFieldsOfNoMeaningIsRefused() {
    byte[] zero =
        new GuardDatagram(session, 0, GuestState.ALIVE, true).encode(GuardDatagram.mac(key));
    assertTrue(verify(zero, 64).isEmpty(), "sequence 0");
  }

  @Test
  void noiseIsRefused() {
    long seed = System.nanoTime();
    System.out.println("seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    byte[] bytes = new byte[80];
    for (int i = 0; i < 10_000; i++) {
      random.nextBytes(bytes);
      assertTrue(verify(bytes, random.nextInt(bytes.length)).isEmpty(), "seed " + seed);
    }
  }

  @Test
  void theListenerBelievesNothingOldForeignOrForged() throws Exception {
    InetAddress here = InetAddress.getLoopbackAddress();
    try (GuardListener listener = new GuardListener(new InetSocketAddress(here, 0));
        DatagramSocket socket = new DatagramSocket()) {
      listener.expect(session, key);
      byte[] five = word(session, 5, key);
      send(socket, listener, five);
      await(listener, 5, 0);
      send(socket, listener, five); // replayed
      send(socket, listener, word(session, 4, key)); // late
      send(socket, listener, word(new UUID(1, 1), 6, key)); // unknown session
      byte[] forged = new byte[32];
      forged[0] = 1;
      send(socket, listener, word(session, 6, forged));
      send(socket, listener, new byte[3]);
      await(listener, 5, 5);
      send(socket, listener, word(session, 7, key));
      await(listener, 7, 5);
      listener.forget(session);
      assertTrue(listener.last(session).isEmpty());
    }
  }

  @Test
  void endsAreToldApart() {
    assertEquals(GuestState.ENDED_ON_PURPOSE, EndReason.meaning("shut off (destroyed)\n\n"));
    assertEquals(GuestState.ENDED_ON_PURPOSE, EndReason.meaning("shut off (shutdown)"));
    assertEquals(GuestState.ENDED_ON_PURPOSE, EndReason.meaning("shut off (migrated)"));
    assertEquals(GuestState.ENDED_ON_PURPOSE, EndReason.meaning("shut off (saved)"));
    assertEquals(GuestState.CRASHED, EndReason.meaning("shut off (crashed)"));
    assertEquals(GuestState.CRASHED, EndReason.meaning("shut off (failed)"));
    assertEquals(GuestState.CRASHED, EndReason.meaning("crashed (panicked)"));
    assertEquals(GuestState.UNKNOWN, EndReason.meaning("running (booted)"));
    assertEquals(GuestState.UNKNOWN, EndReason.meaning("paused (migration)"));
    assertEquals(GuestState.UNKNOWN, EndReason.meaning("shut off (unknown)"));
    assertEquals(GuestState.UNKNOWN, EndReason.meaning("error: failed to get domain 'x'"));
    assertEquals(GuestState.UNKNOWN, EndReason.meaning(""));
  }

  private static byte[] word(UUID of, long sequence, byte[] signedWith) {
    return new GuardDatagram(of, sequence, GuestState.ALIVE, true)
        .encode(GuardDatagram.mac(signedWith));
  }

  private static void send(DatagramSocket socket, GuardListener listener, byte[] bytes)
      throws IOException {
    InetAddress here = InetAddress.getLoopbackAddress();
    socket.send(new DatagramPacket(bytes, bytes.length, here, listener.port()));
  }

  private void await(GuardListener listener, long sequence, long refused) {
    long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (listener.last(session).map(GuardWord::sequence).orElse(0L) != sequence
        || listener.refused() != refused) {
      assertTrue(System.nanoTime() < deadlineNs, listener.refused() + " refused");
      Thread.onSpinWait();
    }
  }

  private Optional<GuardDatagram> verify(byte[] bytes, int length) {
    return GuardDatagram.verify(bytes, length, GuardDatagram.mac(key));
  }
}
