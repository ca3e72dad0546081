package org.understudy.link;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/**
 * The fixed number of chunks between the thread that encodes and {@code link-send}. Whoever finds
 * no free chunk waits: a slow link slows its caller down and never grows memory.
 */
final class Staging implements FrameWriter.Outlet {
  private final LongSupplier clockNs;
  private final int chunks;
  // guarded by this
  private final ArrayDeque<ByteBuffer> free;
  private final ArrayDeque<ByteBuffer> full;
  private IOException broken;
  private long blockedNs;

  Staging(int chunks, LongSupplier clockNs) {
    this.clockNs = clockNs;
    this.chunks = chunks;
    free = new ArrayDeque<>(chunks);
    full = new ArrayDeque<>(chunks);
    int size = FrameWriter.CHUNK_BYTES;
    ByteBuffer slab = ByteBuffer.allocateDirect(chunks * size);
    for (int i = 0; i < chunks; i++) {
      free.add(slab.slice(i * size, size));
    }
  }

  @Override
  public synchronized ByteBuffer take() throws IOException {
    check();
    if (free.isEmpty()) {
      long since = clockNs.getAsLong();
      try {
        while (free.isEmpty() && broken == null) {
          wait();
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw (IOException)
            new InterruptedIOException("interrupted while the link was full").initCause(e);
      } finally {
        blockedNs += clockNs.getAsLong() - since;
      }
      check();
    }
    return free.remove().clear();
  }

  @Override
  public synchronized void pass(ByteBuffer chunk) throws IOException {
    check();
    full.add(chunk);
    notifyAll();
  }

  /**
   * The next chunk to be written, which {@link #written} gives back.
   *
   * @return null when none came until {@code dueNs} by the clock
   */
  synchronized ByteBuffer next(long dueNs) throws IOException {
    check();
    try {
      long left = dueNs - clockNs.getAsLong();
      while (full.isEmpty() && left > 0) {
        wait(TimeUnit.NANOSECONDS.toMillis(left) + 1);
        check();
        left = dueNs - clockNs.getAsLong();
      }
    } catch (InterruptedException e) {
      throw (IOException) new InterruptedIOException("link-send was interrupted").initCause(e);
    }
    return full.poll();
  }

  synchronized void written(ByteBuffer chunk) {
    free.add(chunk);
    notifyAll();
  }

  /** Waits until everything passed on is written; false if it is not within {@code waitMs}. */
  synchronized boolean awaitWritten(long waitMs) throws IOException, InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(waitMs);
    while (free.size() < chunks) {
      check();
      long left = deadline - System.nanoTime();
      if (left <= 0) {
        return false;
      }
      wait(TimeUnit.NANOSECONDS.toMillis(left) + 1);
    }
    return true;
  }

  /** Everybody who waits or comes from now on gets {@code cause}. */
  synchronized void fail(IOException cause) {
    if (broken == null) {
      broken = cause;
      notifyAll();
    }
  }

  /** Nanoseconds that {@link #take} has made its caller wait. */
  synchronized long blockedNs() {
    return blockedNs;
  }

  private void check() throws IOException {
    if (broken != null) {
      throw new IOException(broken.getMessage(), broken);
    }
  }
}
