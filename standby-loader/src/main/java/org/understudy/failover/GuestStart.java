package org.understudy.failover;

import java.io.IOException;
import org.understudy.standby.Inbox;
import org.understudy.standby.StandbyMonitor;

/**
 * The thread {@code standby-start}: orders the guest to run and sees it run, while the loading
 * thread serves pages. QEMU starts the guest itself after RUN if the order came before.
 */
final class GuestStart extends Thread {
  private final StandbyMonitor monitor;
  private final Inbox inbox;
  private final long deadlineMs;
  private volatile long runningNs;
  private volatile String failure;

  GuestStart(StandbyMonitor monitor, Inbox inbox, long deadlineMs) {
    super("standby-start");
    setDaemon(true);
    this.monitor = monitor;
    this.inbox = inbox;
    this.deadlineMs = deadlineMs;
  }

  @Override
  public void run() {
    try {
      monitor.resume();
      monitor.awaitRunning(deadlineMs);
      runningNs = System.nanoTime();
    } catch (IOException refused) {
      failure = refused.getMessage();
    }
    inbox.ring();
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
