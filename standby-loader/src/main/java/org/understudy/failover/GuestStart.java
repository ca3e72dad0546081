package org.understudy.failover;

import java.io.IOException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.understudy.standby.Inbox;
import org.understudy.standby.StandbyMonitor;

/**
 * The thread {@code standby-start}: orders the guest to run and sees it run, while the loading
 * thread looks at the standby, loads it and serves pages. If the order comes before the device
 * state, QEMU starts the guest by itself at RUN; an order that came later would wait until the
 * devices are loaded and then take its own way through the monitor.
 */
final class GuestStart extends Thread {
  private static final long AGAIN_NS = 100_000_000;

  private final StandbyMonitor monitor;
  private final Inbox inbox;
  private final long deadlineMs;
  private final CountDownLatch ordered = new CountDownLatch(1);
  private volatile long runningNs;
  private volatile String failure;
  private volatile boolean cancelled;

  GuestStart(StandbyMonitor monitor, Inbox inbox, long deadlineMs) {
    super("standby-start");
    setDaemon(true);
    this.monitor = monitor;
    this.inbox = inbox;
    this.deadlineMs = deadlineMs;
  }

  @Override
  public void run() {
    long endNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(deadlineMs);
    while (runningNs == 0) {
      try {
        monitor.resume();
        ordered.countDown();
        monitor.awaitRunning(TimeUnit.NANOSECONDS.toMillis(endNs - System.nanoTime()));
        runningNs = System.nanoTime();
        failure = null;
      } catch (IOException refused) {
        // libvirtd may be away for a moment: the order is given until it is heard.
        failure = refused.getMessage();
        ordered.countDown();
        if (cancelled || System.nanoTime() - endNs > 0) {
          break;
        }
        LockSupport.parkNanos(AGAIN_NS);
      }
    }
    inbox.ring();
  }

  /**
   * Returns when QEMU has the order or refused it, or after {@code ms}; it is right without, too.
   */
  void awaitOrdered(long ms) throws InterruptedException {
    ordered.await(ms, TimeUnit.MILLISECONDS);
  }

  /** Gives no further orders: this standby is lost, and another one may come under its name. */
  void cancel() {
    cancelled = true;
  }

  /** {@link System#nanoTime} when the guest was seen running, or 0. */
  long runningNs() {
    return runningNs;
  }

  /** Why it does not run, or null. */
  String failure() {
    return failure;
  }
}
