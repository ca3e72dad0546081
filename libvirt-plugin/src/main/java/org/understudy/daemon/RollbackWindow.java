package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Locale;
import java.util.function.LongSupplier;

/**
 * How much of the guest's life an unplanned failover would roll back now: the time since the newest
 * committed epoch began to be captured, which is a little more than the time since its pause.
 * Thread-safe.
 */
final class RollbackWindow {
  private static final int EPOCHS = 16;

  private final LongSupplier clockNs;
  private final long[] epochs = new long[EPOCHS];
  private final long[] begunNs = new long[EPOCHS];
  private long committed;
  private long committedNs;

  RollbackWindow(LongSupplier clockNs) {
    this.clockNs = clockNs;
  }

  /** Epoch {@code epoch} is about to be captured. */
  synchronized void begun(long epoch) {
    int slot = (int) (epoch % EPOCHS);
    epochs[slot] = epoch;
    begunNs[slot] = clockNs.getAsLong();
  }

  /** Epoch {@code epoch} is durable on the standby. */
  synchronized void committed(long epoch) {
    int slot = (int) (epoch % EPOCHS);
    if (epochs[slot] == epoch && epoch > committed) {
      committed = epoch;
      committedNs = begunNs[slot];
    }
  }

  /**
   * Adds it to a status, once there is one: {@code windowMs}, and a sentence in seconds.
   *
   * @param held whether what clients see waits for its commit
   */
  synchronized void describe(ObjectNode json, boolean held) {
    if (committed == 0) {
      return;
    }
    long ms = (clockNs.getAsLong() - committedNs) / 1_000_000;
    String seconds = String.format(Locale.ROOT, "%.1f s", ms / 1000.0);
    json.put("windowMs", ms);
    json.put(
        "window",
        (held
                ? "0 s of what clients saw (output is held) and " + seconds + " of the guest's time"
                : seconds + " of what clients saw")
            + " would be rolled back by a failover now");
  }
}
