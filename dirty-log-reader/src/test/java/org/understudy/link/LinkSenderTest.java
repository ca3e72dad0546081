package org.understudy.link;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.channels.Channels;
import java.nio.channels.ClosedChannelException;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.understudy.guest.Pages;

/** Both ends against streams made by hand. */
@Timeout(120)
class LinkSenderTest {
  /** Gives prepared bytes, then nothing until it is closed; keeps what is written. */
  private static final class Recorded implements ByteChannel {
    private final ByteBuffer prepared;
    private final AtomicLong clockNs;
    private final ByteArrayOutputStream written = new ByteArrayOutputStream();
    private boolean closed;

    Recorded(byte[] prepared, AtomicLong clockNs) {
      this.prepared = ByteBuffer.wrap(prepared);
      this.clockNs = clockNs;
    }

    @Override
    public synchronized int read(ByteBuffer into) throws IOException {
      while (!prepared.hasRemaining()) {
        if (closed) {
          throw new ClosedChannelException();
        }
        try {
          wait();
        } catch (InterruptedException e) {
          throw new IOException(e);
        }
      }
      int count = Math.min(prepared.remaining(), into.remaining());
      into.put(prepared.slice(prepared.position(), count));
      prepared.position(prepared.position() + count);
      return count;
    }

    /** Takes 4 KiB a millisecond. */
    @Override
    public synchronized int write(ByteBuffer from) throws IOException {
      if (closed) {
        throw new ClosedChannelException();
      }
      byte[] bytes = new byte[Math.min(4096, from.remaining())];
      from.get(bytes);
      written.writeBytes(bytes);
      clockNs.addAndGet(1_000_000);
      return bytes.length;
    }

    synchronized byte[] written() {
      return written.toByteArray();
    }

    @Override
    public synchronized boolean isOpen() {
      return !closed;
    }

    @Override
    public synchronized void close() {
      closed = true;
      notifyAll();
    }
  }

  private final ByteArrayOutputStream standby = new ByteArrayOutputStream();
  private final FrameWriter out =
      new FrameWriter(FrameWriter.to(Channels.newChannel(standby), FrameWriter.CHUNK_BYTES));
  private final AtomicLong clockNs = new AtomicLong();

  private LinkSender sender(Recorded channel) throws IOException {
    return new LinkSender(
        channel, TestStandby.HELLO, new LinkSettings(1 << 20, 1, 10_000), clockNs::get);
  }

  @Test
  void heartbeatIsNeverBehindMoreThanOneChunk() throws Exception {
    new LinkReply(true, 0, "").write(out);
    Recorded channel = new Recorded(standby.toByteArray(), clockNs);
    long seed = System.nanoTime();
    System.out.println("LinkSenderTest seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    try (LinkSender sender = sender(channel)) {
      sender.sink().begin(1);
      GuestMemory.fill(random, TestStandby.PAGES, 2000, 700_000, sender.sink());
      sender.sink().commit();
      sender.goodbye(Goodbye.PROTECTION_ENDS, "");
    }
    int apart = 0;
    int most = 0;
    int heartbeats = 0;
    ByteBuffer written = ByteBuffer.wrap(channel.written());
    while (written.remaining() >= LinkFormat.HEADER_BYTES) {
      int type = written.get(written.position()) & 0xFF;
      int bytes = LinkFormat.HEADER_BYTES + written.getInt(written.position() + 4);
      if (bytes > written.remaining()) {
        break; // cut by close
      }
      apart = type == LinkFormat.HEARTBEAT ? 0 : apart + bytes;
      heartbeats += type == LinkFormat.HEARTBEAT ? 1 : 0;
      most = Math.max(most, apart);
      written.position(written.position() + bytes);
    }
    System.out.println(
        heartbeats + " heartbeats in " + written.limit() + " bytes, at most " + most + " apart");
    assertTrue(heartbeats > written.limit() / FrameWriter.CHUNK_BYTES, heartbeats + " heartbeats");
    assertTrue(most <= FrameWriter.CHUNK_BYTES, most + " bytes without a heartbeat");
  }

  private String refusedByPrimary() throws Exception {
    try (LinkSender sender = sender(new Recorded(standby.toByteArray(), clockNs))) {
      IOException refused =
          assertThrows(IOException.class, () -> sender.awaitAcknowledged(100, 30_000));
      return refused.getMessage();
    }
  }

  private void committed(long epoch) throws IOException {
    out.begin(LinkFormat.COMMITTED, 16).putLong(epoch).putLong(5);
    out.end();
    out.flush();
  }

  @Test
  void acknowledgementOfWhatWasNotSentIsRefused() throws Exception {
    new LinkReply(true, 3, "").write(out);
    committed(4);
    String refused = refusedByPrimary();
    assertTrue(
        refused.startsWith("the link broke: COMMITTED of epoch 4, expected none, at offset"),
        refused);
  }

  @Test
  void acknowledgementThatSkipsAnEpochIsRefused() {
    Acknowledgements acknowledgements = new Acknowledgements(clockNs::get);
    acknowledgements.start(6);
    assertThrows(IllegalArgumentException.class, () -> acknowledgements.begin(6));
    for (long epoch = 7; epoch <= 9; epoch++) {
      long number = epoch;
      org.junit.jupiter.api.Assertions.assertDoesNotThrow(
          () -> {
            acknowledgements.begin(number);
            acknowledgements.end();
          });
    }
    assertEquals("COMMITTED of epoch 9, expected 7", acknowledgements.committed(9, 0));
    assertEquals("FAILED of epoch 6, expected 7 to 9", acknowledgements.failed(6, ""));
    assertEquals("FAILED of epoch 10, expected 7 to 9", acknowledgements.failed(10, ""));
    assertEquals(null, acknowledgements.committed(7, 0));
    assertEquals(null, acknowledgements.failed(8, "no space left"));
    assertEquals("COMMITTED of epoch 9, expected none", acknowledgements.committed(9, 0));
    assertEquals(7, acknowledgements.acknowledged());
  }

  @Test
  void firstFrameOtherThanReplyIsRefused() throws Exception {
    committed(1);
    IOException refused =
        assertThrows(
            IOException.class, () -> sender(new Recorded(standby.toByteArray(), clockNs)).close());
    assertTrue(refused.getMessage().startsWith("the link broke: COMMITTED"), refused.getMessage());
  }

  @Test
  void helloWithAnyBitFlippedIsRefused() throws Exception {
    TestStandby.HELLO.write(out);
    byte[] hello = standby.toByteArray();
    for (int bit = 0; bit < hello.length * 8; bit++) {
      byte[] damaged = hello.clone();
      damaged[bit / 8] ^= (byte) (1 << bit % 8);
      FrameReader in = new FrameReader(EpochCodecTest.channel(damaged, 1 << 20), clockNs::get);
      assertThrows(LinkFormatException.class, () -> Hello.read(reading(in)), "bit " + bit);
    }
    FrameReader in = new FrameReader(EpochCodecTest.channel(hello, 1), clockNs::get);
    assertEquals(TestStandby.HELLO, Hello.read(reading(in)));
  }

  private static FrameReader reading(FrameReader in) throws IOException {
    in.next();
    return in;
  }

  @Test
  void helloWithRightChecksAndRandomFieldsIsReadOrRefused() throws Exception {
    long seed = System.nanoTime();
    System.out.println("LinkSenderTest seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    TestStandby.HELLO.write(out);
    byte[] hello = standby.toByteArray();
    int read = 0;
    for (int i = 0; i < 3000; i++) {
      standby.reset();
      byte[] body = java.util.Arrays.copyOfRange(hello, LinkFormat.HEADER_BYTES, hello.length);
      for (int changes = 1 + random.nextInt(3); changes > 0; changes--) {
        int at =
            random.nextInt(10) == 0 ? random.nextInt(10) : 10 + random.nextInt(body.length - 10);
        body[at] = (byte) (random.nextBoolean() ? random.nextInt(256) : 0xFF);
      }
      out.begin(LinkFormat.HELLO, body.length).put(body, 0, body.length - random.nextInt(2));
      out.end();
      out.flush();
      FrameReader in =
          new FrameReader(EpochCodecTest.channel(standby.toByteArray(), 1 << 20), clockNs::get);
      try {
        Hello found = Hello.read(reading(in));
        assertTrue(found.layout().bytes() % Pages.SIZE == 0);
        read++;
      } catch (LinkFormatException e) {
        assertTrue(e.offset() == 0, e.getMessage());
      }
    }
    System.out.println(read + " of 3000 changed hellos read");
  }
}
