package org.understudy.guard;

import java.io.IOException;
import org.understudy.linux.PidFd;

/**
 * The guard's eye on QEMU's process, and the question why it ended, asked once in a thread of its
 * own.
 */
final class GuestWatch implements AutoCloseable {
  private final PidFd qemu;
  private final EndReason reason;
  private volatile GuestState state = GuestState.ALIVE;
  private volatile boolean onPurpose;
  private boolean ended;

  GuestWatch(PidFd qemu, EndReason reason) {
    this.qemu = qemu;
    this.reason = reason;
  }

  /** What is known now. */
  GuestState state() {
    return state;
  }

  /** The daemon knows that the guest is ended, or about to be, because somebody asked for it. */
  void endsOnPurpose() {
    onPurpose = true;
    if (ended) {
      state = GuestState.ENDED_ON_PURPOSE;
    }
  }

  /** Looks. */
  void tick() throws IOException {
    if (ended || qemu.isAlive()) {
      return;
    }
    ended = true;
    if (onPurpose) {
      state = GuestState.ENDED_ON_PURPOSE;
      return;
    }
    state = GuestState.ENDING;
    Thread asking =
        new Thread(
            () -> {
              try {
                GuestState answer = reason.ask();
                if (!onPurpose) {
                  state = answer;
                }
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            },
            "guard-reason");
    asking.setDaemon(true);
    asking.start();
  }

  @Override
  public void close() {
    qemu.close();
  }
}
