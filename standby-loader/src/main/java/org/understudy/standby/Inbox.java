package org.understudy.standby;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.understudy.guest.PageSet;
import org.understudy.qemustream.ReturnPath;

/**
 * What came on the return path and waits for the loading thread: wanted pages in order of arrival,
 * the last PONG, SHUT, and the path's end. Bounded: when it is full the reader waits, and with it
 * QEMU.
 */
public final class Inbox implements ReturnPath.Receiver {
  private static final int CAPACITY = 4096;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final Condition room = lock.newCondition();
  private final int[] pages = new int[CAPACITY];
  private final long[] arrivedNs = new long[CAPACITY];
  private int head;
  private int count;
  private volatile boolean wanted; // count > 0, for asking without the lock
  private int pong;
  private boolean shut;
  private int shutError;
  private String ended;
  private boolean news;
  private long takenArrivedNs;
  private PageSet received; // null unless a stream takes over
  private boolean resumed;

  @Override
  public void pong(int number) {
    lock.lock();
    try {
      pong = number;
      changedNow();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void requested(int first, int howMany) {
    lock.lock();
    try {
      long now = System.nanoTime();
      for (int page = first; page < first + howMany; page++) {
        while (count == CAPACITY && ended == null) {
          room.awaitUninterruptibly();
        }
        if (ended != null) {
          return;
        }
        int at = (head + count) % CAPACITY;
        pages[at] = page;
        arrivedNs[at] = now;
        count++;
        wanted = true;
      }
      changedNow();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void shut(int error) {
    lock.lock();
    try {
      shut = true;
      shutError = error;
      changedNow();
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void received(int first, long bits) {
    lock.lock();
    try {
      for (long left = bits; left != 0; left &= left - 1) {
        received.add(first + Long.numberOfTrailingZeros(left));
      }
    } finally {
      lock.unlock();
    }
  }

  @Override
  public void resumed() {
    lock.lock();
    try {
      resumed = true;
      changedNow();
    } finally {
      lock.unlock();
    }
  }

  /** Before QEMU is asked which of {@code capacity} pages it has. */
  void expectReceived(int capacity) {
    lock.lock();
    try {
      received = new PageSet(capacity);
    } finally {
      lock.unlock();
    }
  }

  /** What QEMU said it had when it took up the stream; null if it did not within the deadline. */
  PageSet awaitResumed(long deadlineMs) throws InterruptedException {
    long leftNs = TimeUnit.MILLISECONDS.toNanos(deadlineMs);
    lock.lock();
    try {
      while (!resumed && ended == null && leftNs > 0) {
        leftNs = changed.awaitNanos(leftNs);
      }
      return resumed ? received : null;
    } finally {
      lock.unlock();
    }
  }

  /** The return path ended; the first reason stays. */
  void end(String reason) {
    lock.lock();
    try {
      if (ended == null) {
        ended = reason;
      }
      changedNow();
      room.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Wakes who waits in {@link #await}. */
  public void ring() {
    lock.lock();
    try {
      changedNow();
    } finally {
      lock.unlock();
    }
  }

  /** Whether a page is wanted; cheap, for asking between two pages. */
  public boolean isWanted() {
    return wanted;
  }

  /** Takes the page wanted longest, or -1; {@link #takenArrivedNs} tells since when. */
  public int takeWanted() {
    lock.lock();
    try {
      if (count == 0) {
        return -1;
      }
      int page = pages[head];
      takenArrivedNs = arrivedNs[head];
      head = (head + 1) % CAPACITY;
      count--;
      wanted = count > 0;
      room.signal();
      return page;
    } finally {
      lock.unlock();
    }
  }

  /** {@link System#nanoTime} of the arrival of the page that {@link #takeWanted} gave last. */
  public long takenArrivedNs() {
    return takenArrivedNs;
  }

  /** Number in the last PONG. */
  public int lastPong() {
    lock.lock();
    try {
      return pong;
    } finally {
      lock.unlock();
    }
  }

  /** Whether QEMU said that it is done without an error. */
  public boolean isShut() {
    lock.lock();
    try {
      return shut && shutError == 0;
    } finally {
      lock.unlock();
    }
  }

  /** Why nothing will come any more, or null while something may. */
  public String ended() {
    lock.lock();
    try {
      if (shut && shutError != 0) {
        return "QEMU reported error " + shutError + " on the return path";
      }
      return ended;
    } finally {
      lock.unlock();
    }
  }

  /**
   * Returns when a page is wanted, something else has come since the last call, or the time is up.
   */
  public void await(long ns) throws InterruptedException {
    long leftNs = ns;
    lock.lock();
    try {
      while (!news && count == 0 && leftNs > 0) {
        leftNs = changed.awaitNanos(leftNs);
      }
      news = false;
    } finally {
      lock.unlock();
    }
  }

  /** Returns when the path has ended or the time is up. */
  void awaitEnd(long deadlineMs) throws InterruptedException {
    long leftNs = TimeUnit.MILLISECONDS.toNanos(deadlineMs);
    lock.lock();
    try {
      while (ended == null && leftNs > 0) {
        leftNs = changed.awaitNanos(leftNs);
      }
    } finally {
      lock.unlock();
    }
  }

  /** Under the lock. */
  private void changedNow() {
    news = true;
    changed.signalAll();
  }

  /** Waits for PONG {@code number}; whether it came before the deadline and the path's end. */
  boolean awaitPong(int number, long deadlineMs) throws InterruptedException {
    long leftNs = TimeUnit.MILLISECONDS.toNanos(deadlineMs);
    lock.lock();
    try {
      while (pong != number && ended == null && leftNs > 0) {
        leftNs = changed.awaitNanos(leftNs);
      }
      return pong == number;
    } finally {
      lock.unlock();
    }
  }
}
