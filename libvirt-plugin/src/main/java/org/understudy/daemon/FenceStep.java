package org.understudy.daemon;

import org.understudy.fence.FenceResult;
import org.understudy.fence.FenceTarget;
import org.understudy.fence.NoFence;

/**
 * The fence before a failover.
 *
 * @param fenced whether the other host is known not to run the guest
 * @param sentence how that is known, or why not and what to do
 */
record FenceStep(boolean fenced, String sentence) {
  /** Fences the other host, unless the operator vouches for it by {@code force}. */
  static FenceStep run(ThisHost host, GuestOrder order, boolean force) throws InterruptedException {
    String name = order.primary().name();
    if (force) {
      return new FenceStep(
          true, "FORCED: no fence; the operator says that no other host runs domain " + name);
    }
    String peer;
    try {
      peer = host.ownership().read(order.primary().uuid()).map(Ownership::peer).orElse("");
    } catch (java.io.IOException e) {
      return new FenceStep(false, e.getMessage());
    }
    FenceResult result = host.fence().fence(new FenceTarget(name, order.primary().uuid(), peer));
    if (result instanceof FenceResult.Fenced fenced) {
      boolean none = host.fence() instanceof NoFence;
      return new FenceStep(
          true, (none ? "WARNING: " : "host " + peer + " is fenced: ") + fenced.how());
    }
    return new FenceStep(
        false,
        "the fence of host "
            + peer
            + " failed, nothing was started: "
            + ((FenceResult.Failed) result).why()
            + ". Make sure yourself that "
            + peer
            + " does not run domain "
            + name
            + ", then: understudy failover "
            + name
            + " --force");
  }
}
