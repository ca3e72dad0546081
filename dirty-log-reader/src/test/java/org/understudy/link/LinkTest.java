package org.understudy.link;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.understudy.guest.Pages;

@Timeout(120)
@SuppressWarnings("try") // a link is closed early where its end is what is tested
class LinkTest {
  private static SplittableRandom seeded(String test) {
    long seed = System.nanoTime();
    System.out.println("LinkTest." + test + " seed " + seed);
    return new SplittableRandom(seed);
  }

  private static ByteBuffer state() {
    return ByteBuffer.wrap(new byte[] {1});
  }

  @Test
  void epochsArriveBitIdenticalAndAreAcknowledgedInOrder() throws Exception {
    SplittableRandom random = seeded("epochsArrive");
    GuestMemory expected = new GuestMemory(TestStandby.PAGES);
    try (TestStandby standby = new TestStandby();
        LinkSender sender = standby.connect(20)) {
      assertEquals(0, sender.standbyEpoch());
      for (long epoch = 1; epoch <= 30; epoch++) {
        if (random.nextInt(4) == 0) {
          sender.sink().begin(epoch);
          GuestMemory.fill(random, TestStandby.PAGES, random.nextInt(500), 9, sender.sink());
          sender.sink().discard();
        }
        sender.sink().begin(epoch);
        expected.begin(epoch);
        int steps = random.nextInt(700);
        GuestMemory.fill(random, TestStandby.PAGES, steps, 400_000, sender.sink(), expected);
        sender.sink().commit();
        expected.commit();
        if (random.nextBoolean()) {
          assertTrue(sender.awaitAcknowledged(epoch, 30_000));
          assertEquals(0, sender.lagMs());
        }
      }
      assertTrue(sender.awaitAcknowledged(30, 30_000));
      assertEquals(0, sender.unacknowledgedEpochs());
      assertTrue(sender.wireBytes() > 0 && sender.rawBytes() > sender.wireBytes() / 2);
      sender.goodbye(Goodbye.SWITCHOVER, "planned");
      sender.close();
      standby.awaitEnd();
      assertEquals(Goodbye.SWITCHOVER, standby.goodbye);
      assertEquals(expected.commits, standby.memory.commits);
      standby.memory.assertSameAs(expected);
      assertEquals(Long.MAX_VALUE, standby.receiver.silentMs());
    }
  }

  @Test
  void refusalReachesThePrimaryAsSentence() throws Exception {
    try (TestStandby standby = new TestStandby()) {
      standby.refusal = "the RAM blocks are not those that were prepared";
      IOException refused = assertThrows(IOException.class, () -> standby.connect(20));
      assertEquals(
          "the standby host refuses: the RAM blocks are not those that were prepared",
          refused.getMessage());
    }
  }

  @Test
  void standbyThatDoesNotAnswerIsGivenUp() throws Exception {
    try (TestStandby standby = new TestStandby()) {
      standby.accepting = new CountDownLatch(1);
      LinkSettings settings = new LinkSettings(1 << 20, 20, 100);
      IOException gaveUp = assertThrows(IOException.class, () -> standby.connect(settings));
      assertEquals("the standby host did not answer within 100 ms", gaveUp.getMessage());
      standby.accepting.countDown();
    }
  }

  @Test
  void otherVersionIsRefusedWithBothNumbers() throws Exception {
    ByteChannel[] ends = TestStandby.pair();
    try (ByteChannel primary = ends[0];
        ByteChannel standby = ends[1]) {
      FrameWriter out = new FrameWriter(FrameWriter.to(primary, FrameWriter.CHUNK_BYTES));
      out.begin(LinkFormat.HELLO, 100).putLong(LinkFormat.MAGIC).putShort((short) 2).putInt(0);
      out.end();
      out.flush();
      LinkReceiver receiver = new LinkReceiver(standby, 20, System::nanoTime);
      assertThrows(LinkFormatException.class, () -> receiver.serve((hello, by) -> null));
      FrameReader in = new FrameReader(primary, System::nanoTime);
      assertEquals(LinkFormat.HELLO_REPLY, in.next());
      LinkReply reply = LinkReply.read(in);
      assertFalse(reply.accepted());
      assertTrue(reply.sentence().startsWith("version 2 in HELLO, expected 1"), reply.sentence());
    }
  }

  @Test
  void requiredFeatureThatIsNotKnownIsRefused() throws Exception {
    ByteChannel[] ends = TestStandby.pair();
    try (ByteChannel primary = ends[0];
        ByteChannel standby = ends[1]) {
      FrameWriter out = new FrameWriter(FrameWriter.to(primary, FrameWriter.CHUNK_BYTES));
      out.begin(LinkFormat.HELLO, 100)
          .putLong(LinkFormat.MAGIC)
          .putShort((short) 1)
          .putInt(4)
          .putInt(-1);
      out.end();
      out.flush();
      LinkReceiver receiver = new LinkReceiver(standby, 20, System::nanoTime);
      IOException refused =
          assertThrows(LinkFormatException.class, () -> receiver.serve((hello, by) -> null));
      assertTrue(
          refused
              .getMessage()
              .startsWith("required features 0x00000004 are not known, this side knows 0x00000000"),
          refused.getMessage());
    }
  }

  @Test
  void failedEpochEndsTheEpochsOfItsLink() throws Exception {
    SplittableRandom random = seeded("failedEpoch");
    GuestMemory expected = new GuestMemory(TestStandby.PAGES);
    try (TestStandby standby = new TestStandby();
        LinkSender sender = standby.connect(5)) {
      sender.sink().begin(1);
      expected.begin(1);
      GuestMemory.fill(random, TestStandby.PAGES, 300, 9000, sender.sink(), expected);
      sender.sink().commit();
      expected.commit();
      assertTrue(sender.awaitAcknowledged(1, 30_000));
      // The disk is full for epoch 2 alone; epoch 3 is on its way before anybody knows.
      standby.failsAt = 2;
      standby.stall = new CountDownLatch(1);
      for (long epoch = 2; epoch <= 3; epoch++) {
        sender.sink().begin(epoch);
        GuestMemory.fill(random, TestStandby.PAGES, 30, 9000, sender.sink());
        sender.sink().commit();
      }
      standby.stall.countDown();
      IOException failed =
          assertThrows(IOException.class, () -> sender.awaitAcknowledged(3, 30_000));
      String sentence = "the standby host could not store epoch 2: no space left";
      assertEquals(sentence, failed.getMessage());
      assertThrows(IOException.class, () -> sender.awaitAcknowledged(2, 30_000));
      assertTrue(sender.awaitAcknowledged(1, 0));
      IOException refused = assertThrows(IOException.class, () -> sender.sink().begin(4));
      assertEquals(sentence, refused.getMessage());
      assertFalse(sender.isOpen());
      sender.close();
      standby.awaitEnd();
      assertEquals(List.of(1L), standby.memory.commits);
      standby.memory.assertSameAs(expected);
    }
  }

  @Test
  void brokenLinkShowsAtTheNextCallAndDiscardsTheEpoch() throws Exception {
    try (TestStandby standby = new TestStandby();
        LinkSender sender = standby.connect(5)) {
      sender.sink().begin(1);
      sender.sink().zeroPage(1);
      sender.sink().deviceState(state());
      sender.sink().commit();
      assertTrue(sender.awaitAcknowledged(1, 30_000));
      sender.sink().begin(2);
      ByteBuffer page = ByteBuffer.allocateDirect(Pages.SIZE);
      SplittableRandom random = seeded("brokenLink");
      for (int i = 0; i < 4096; i++) {
        page.put(i, (byte) random.nextInt(256));
      }
      for (int i = 0; i < TestStandby.PAGES; i++) { // more than a chunk: some of it is sent
        sender.sink().page(i, page);
      }
      TestStandby.await(() -> standby.memory.isOpen(), "epoch 2 begun at the standby");
      standby.receiver.abort();
      TestStandby.await(() -> !sender.isOpen(), "the primary to notice");
      assertThrows(IOException.class, () -> sender.sink().zeroPage(1));
      assertThrows(IOException.class, () -> sender.awaitAcknowledged(2, 30_000));
      standby.awaitEnd();
      assertFalse(standby.memory.isOpen());
      assertEquals(List.of(1L), standby.memory.commits);
      assertEquals(List.of(2L), standby.memory.discards);
    }
  }

  @Test
  void heartbeatsGoBothWaysWithinAnEpochAndDuringSlowCommit() throws Exception {
    try (TestStandby standby = new TestStandby();
        LinkSender sender = standby.connect(2)) {
      sender.sink().begin(1);
      sender.sink().zeroPage(1);
      TestStandby.await(
          () -> standby.receiver.heard().sequence() > 5 && sender.heard().sequence() > 5,
          "five heartbeats each way within an epoch");
      standby.slowCommit = new CountDownLatch(1);
      sender.sink().deviceState(state());
      sender.sink().commit();
      TestStandby.await(() -> standby.memory.isOpen(), "the epoch at the standby");
      TestStandby.await(
          () -> sender.heard().lagNs() > 20_000_000, "a heartbeat that tells of a busy standby");
      assertEquals(0, standby.receiver.silentMs());
      assertTrue(standby.receiver.busyMs() >= 20);
      assertTrue(sender.lagMs() >= 20);
      assertEquals(1, sender.unacknowledgedEpochs());
      assertFalse(sender.awaitAcknowledged(1, 1));
      standby.slowCommit.countDown();
      assertTrue(sender.awaitAcknowledged(1, 30_000));
      assertTrue(sender.durableNs() > 20_000_000);
      TestStandby.await(() -> sender.heard().epoch() == 1, "a heartbeat with the epoch");
    }
  }

  @Test
  void silenceIsMeasuredByTheClockGiven() throws Exception {
    AtomicLong clockNs = new AtomicLong();
    try (TestStandby standby = new TestStandby();
        LinkSender sender =
            standby.connect(new LinkSettings(1 << 20, 1_000_000, 10_000), clockNs::get)) {
      TestStandby.await(() -> sender.heard().sequence() == 1, "the only heartbeat");
      TestStandby.await(
          () -> {
            clockNs.addAndGet(1_000_000_000L);
            return sender.silentMs() >= 3000;
          },
          "silence that grows with the clock");
      sender.sink().begin(1);
      clockNs.addAndGet(5_000_000_000L);
      assertEquals(5000, sender.lagMs());
      sender.sink().discard();
      assertEquals(0, sender.lagMs());
    }
  }

  @Test
  void stalledReaderStopsTheCallerAndMemoryDoesNotGrow() throws Exception {
    SplittableRandom random = seeded("stalledReader");
    int pages = 20_000;
    ByteBuffer noise = ByteBuffer.allocateDirect(Pages.SIZE + 1000);
    for (int i = 0; i < noise.capacity(); i++) {
      noise.put(i, (byte) random.nextInt(256));
    }
    try (TestStandby standby = new TestStandby();
        LinkSender sender = standby.connect(new LinkSettings(1 << 20, 5, 10_000))) {
      standby.stall = new CountDownLatch(1);
      sender.sink().begin(1); // the standby's sink waits here
      AtomicLong given = new AtomicLong();
      Thread caller =
          new Thread(
              () -> {
                try {
                  for (int i = 0; i < pages; i++) {
                    sender.sink().page(i % TestStandby.PAGES, noise.position(i % 1000));
                    given.incrementAndGet();
                  }
                  sender.sink().deviceState(state());
                  sender.sink().commit();
                } catch (IOException e) {
                  given.set(-1);
                }
              });
      caller.start();
      TestStandby.await(() -> caller.getState() == Thread.State.WAITING, "the caller to wait");
      // Staging, the reader's buffer and the sockets': 1 MiB, 256 KiB, and what Linux gives.
      long bytes = given.get() * Pages.SIZE;
      System.out.println("stalledReader: " + bytes + " bytes given when the caller waits");
      assertTrue(bytes >= 512 << 10 && bytes < 4 << 20, bytes + " bytes of pages given");
      standby.stall.countDown();
      assertTrue(sender.awaitAcknowledged(0, 0));
      caller.join(TimeUnit.SECONDS.toMillis(60));
      assertEquals(pages, given.get());
      assertTrue(sender.awaitAcknowledged(1, 60_000));
      assertTrue(sender.blockedNs() > 0);
    }
  }

  @Test
  void closingFreesCallerThatWaitsForStalledLink() throws Exception {
    try (TestStandby standby = new TestStandby();
        LinkSender sender = standby.connect(new LinkSettings(1 << 20, 5, 10_000))) {
      standby.stall = new CountDownLatch(1);
      sender.sink().begin(1);
      Thread main = Thread.currentThread();
      Thread closer =
          new Thread(
              () -> {
                TestStandby.await(
                    () -> main.getState() == Thread.State.WAITING, "the caller to wait");
                sender.close();
              });
      closer.start();
      SplittableRandom random = seeded("closing");
      IOException closed =
          assertThrows(
              IOException.class,
              () -> GuestMemory.fill(random, TestStandby.PAGES, 1 << 20, 9, sender.sink()));
      assertEquals("the link is closed", closed.getMessage());
      closer.join();
      standby.stall.countDown();
    }
  }
}
