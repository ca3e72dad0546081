package org.understudy.daemon;

/**
 * How long this process has been awake. One that was stopped, or a whole host that was, wakes up
 * with words of others waiting to be read, and must not take its own absence for their silence.
 * Thread-safe.
 */
final class Pulse {
  /** Longer than a loaded host keeps a thread waiting, shorter than any silence that counts. */
  private static final long ABSENCE_NS = 500_000_000;

  private static final long TICK_MS = 50;
  private static final Pulse OF_THIS_PROCESS = new Pulse(System.nanoTime());

  static {
    Thread thread = new Thread(Pulse::beat, "pulse");
    thread.setDaemon(true);
    thread.start();
  }

  private long lastNs;
  private long awakeSinceNs;

  /** Awake from now on. */
  Pulse(long nowNs) {
    lastNs = nowNs;
    awakeSinceNs = nowNs;
  }

  /** As far as is known, in ms, for this process. */
  static long awakeMs() {
    return OF_THIS_PROCESS.awakeMs(System.nanoTime());
  }

  private static void beat() {
    try {
      while (true) {
        OF_THIS_PROCESS.tick(System.nanoTime());
        Thread.sleep(TICK_MS);
      }
    } catch (InterruptedException e) {
      // Nobody does; without it awakeMs is 0, and no silence counts.
    }
  }

  synchronized void tick(long nowNs) {
    if (nowNs - lastNs > ABSENCE_NS) {
      awakeSinceNs = nowNs;
    }
    lastNs = nowNs;
  }

  /** Time since the last absence, in ms; 0 in the first moments after one. */
  synchronized long awakeMs(long nowNs) {
    return nowNs - lastNs > ABSENCE_NS ? 0 : (nowNs - awakeSinceNs) / 1_000_000;
  }
}
