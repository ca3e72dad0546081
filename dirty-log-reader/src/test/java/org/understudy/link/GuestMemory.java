package org.understudy.link;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.understudy.guest.EpochSink;
import org.understudy.guest.Pages;

/** A guest's memory that takes epochs whole or not at all, and complains of calls out of order. */
final class GuestMemory implements EpochSink {
  final List<Long> commits = new ArrayList<>();
  final List<Long> discards = new ArrayList<>();
  private final byte[][] committed; // null: a page of zeros
  private byte[][] running;
  private byte[] runningState;
  private byte[] state = {};
  private long begun;

  GuestMemory(int pages) {
    committed = new byte[pages][];
  }

  @Override
  public void begin(long epoch) throws IOException {
    assertFalse(isOpen(), "begin within an epoch");
    begun = epoch;
    running = committed.clone();
    runningState = null;
  }

  @Override
  public void page(int page, ByteBuffer content) throws IOException {
    assertTrue(isOpen());
    assertTrue(content.remaining() >= Pages.SIZE);
    byte[] bytes = new byte[Pages.SIZE];
    content.get(bytes);
    running[page] = Arrays.equals(bytes, new byte[Pages.SIZE]) ? null : bytes;
  }

  @Override
  public void zeroPage(int page) throws IOException {
    assertTrue(isOpen());
    running[page] = null;
  }

  @Override
  public void deviceState(ByteBuffer content) throws IOException {
    assertTrue(isOpen());
    assertEquals(null, runningState);
    runningState = new byte[content.remaining()];
    content.get(runningState);
  }

  @Override
  public void commit() throws IOException {
    assertTrue(isOpen() && runningState != null);
    System.arraycopy(running, 0, committed, 0, committed.length);
    state = runningState;
    commits.add(begun);
    running = null;
  }

  @Override
  public void discard() throws IOException {
    assertTrue(isOpen(), "discard outside an epoch");
    discards.add(begun);
    running = null;
  }

  boolean isOpen() {
    return running != null;
  }

  int pages() {
    return committed.length;
  }

  void assertSameAs(GuestMemory other) {
    assertArrayEquals(other.state, state, "device state");
    for (int page = 0; page < committed.length; page++) {
      assertArrayEquals(other.committed[page], committed[page], "page " + page);
    }
  }

  /**
   * Gives both sinks the same random pages and a device state, without begin and commit: raw,
   * compressible, zero, runs of zeros, pages that come again.
   */
  static void fill(SplittableRandom random, int pages, int steps, int maxState, EpochSink... sinks)
      throws IOException {
    ByteBuffer content = ByteBuffer.allocateDirect(3 * Pages.SIZE);
    byte[] bytes = new byte[Pages.SIZE];
    int stateAt = random.nextInt(steps + 1);
    for (int i = 0; i <= steps; i++) {
      if (i == stateAt) {
        byte[] state = new byte[1 + random.nextInt(maxState)];
        random.nextBytes(state);
        for (EpochSink sink : sinks) {
          sink.deviceState(ByteBuffer.wrap(state));
        }
      }
      int page = random.nextInt(pages);
      int kind = random.nextInt(4);
      if (kind == 0) {
        int end = Math.min(pages, page + 1 + random.nextInt(9));
        for (int zero = page; zero < end; zero++) {
          for (EpochSink sink : sinks) {
            sink.zeroPage(zero);
          }
        }
        continue;
      }
      Arrays.fill(bytes, (byte) 0);
      if (kind == 1) {
        random.nextBytes(bytes);
      } else {
        for (int at = random.nextInt(64); at < bytes.length; at += 1 + random.nextInt(500)) {
          bytes[at] = (byte) random.nextInt(256);
        }
      }
      int at = random.nextInt(Pages.SIZE);
      content.clear().position(at).put(bytes).flip();
      for (EpochSink sink : sinks) {
        sink.page(page, content.position(at));
      }
    }
  }
}
