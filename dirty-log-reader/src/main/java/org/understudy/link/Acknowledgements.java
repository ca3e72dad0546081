package org.understudy.link;

import static org.understudy.link.LinkFormat.MAX_UNACKNOWLEDGED;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;

/**
 * Which epochs have begun, ended, been acknowledged, on the primary's side of one link. An epoch
 * that the standby could not store ends all of them: those behind it build on it.
 */
final class Acknowledgements {
  private final LongSupplier clockNs;
  // guarded by this; a ring of epochs that have ended and are not acknowledged
  private final long[] epochs = new long[MAX_UNACKNOWLEDGED];
  private final long[] beganNs = new long[MAX_UNACKNOWLEDGED];
  private int first;
  private int count;
  private long acknowledged;
  private long begun; // number of the epoch begun last
  private boolean open;
  private long openBeganNs;
  private long durableNs;
  private volatile IOException failure;

  Acknowledgements(LongSupplier clockNs) {
    this.clockNs = clockNs;
  }

  synchronized void start(long committed) {
    acknowledged = committed;
    begun = committed;
  }

  /** Throws once the link is broken or the standby has failed. */
  void check() throws IOException {
    IOException found = failure;
    if (found != null) {
      throw new IOException(found.getMessage(), found);
    }
  }

  boolean isFailed() {
    return failure != null;
  }

  /** An epoch is about to begin; waits while too many are without acknowledgement. */
  synchronized void begin(long epoch) throws IOException {
    check();
    if (epoch <= acknowledged || (count > 0 && epoch <= epochs[last()])) {
      throw new IllegalArgumentException(
          "epoch %d begins, expected one after %d"
              .formatted(epoch, count > 0 ? epochs[last()] : acknowledged));
    }
    try {
      while (count == MAX_UNACKNOWLEDGED) {
        wait();
        check();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw (IOException)
          new InterruptedIOException("interrupted while waiting for COMMITTED").initCause(e);
    }
    begun = epoch;
    open = true;
    openBeganNs = clockNs.getAsLong();
  }

  /** The open epoch is about to be sent whole. */
  synchronized void end() throws IOException {
    check();
    open = false;
    epochs[(first + count) % MAX_UNACKNOWLEDGED] = begun;
    beganNs[(first + count) % MAX_UNACKNOWLEDGED] = openBeganNs;
    count++;
  }

  synchronized void discard() {
    open = false;
  }

  /**
   * The standby says that an epoch is durable.
   *
   * @return what is wrong with that, null if nothing is
   */
  synchronized String committed(long epoch, long tookNs) {
    if (count == 0 || epochs[first] != epoch || failure != null) {
      return "COMMITTED of epoch %d, expected %s"
          .formatted(epoch, count == 0 || failure != null ? "none" : "" + epochs[first]);
    }
    first = (first + 1) % MAX_UNACKNOWLEDGED;
    count--;
    acknowledged = epoch;
    durableNs = tookNs;
    notifyAll();
    return null;
  }

  /**
   * The standby says that it could not store an epoch, 0 for the stream itself.
   *
   * @return what is wrong with that, null if nothing is
   */
  synchronized String failed(long epoch, String sentence) {
    if (epoch != 0 && (epoch <= acknowledged || epoch > begun)) {
      return "FAILED of epoch %d, expected %d to %d".formatted(epoch, acknowledged + 1, begun);
    }
    fail(
        new IOException(
            epoch == 0
                ? "the standby host refuses the stream: " + sentence
                : "the standby host could not store epoch " + epoch + ": " + sentence));
    return null;
  }

  /** Everybody who waits or comes from now on gets {@code cause}; the first cause stays. */
  synchronized void fail(IOException cause) {
    if (failure == null) {
      failure = cause;
      notifyAll();
    }
  }

  synchronized boolean await(long epoch, long waitMs) throws IOException, InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(waitMs);
    while (acknowledged < epoch) {
      check();
      long left = deadline - System.nanoTime();
      if (left <= 0) {
        return false;
      }
      wait(TimeUnit.NANOSECONDS.toMillis(left) + 1);
    }
    return true;
  }

  synchronized long acknowledged() {
    return acknowledged;
  }

  synchronized int waiting() {
    return count;
  }

  /** Nanoseconds that the standby took to make the last acknowledged epoch durable. */
  synchronized long durableNs() {
    return durableNs;
  }

  /** Nanoseconds since the oldest unacknowledged epoch began, the open one included; 0 if none. */
  synchronized long lagNs() {
    if (count == 0 && !open) {
      return 0;
    }
    return Math.max(0, clockNs.getAsLong() - (count > 0 ? beganNs[first] : openBeganNs));
  }

  private int last() {
    return (first + count - 1) % MAX_UNACKNOWLEDGED;
  }
}
