package org.understudy.fence;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** No fence at all, chosen by name; says so each time. */
public record NoFence() implements Fence {
  private static final Logger LOG = LoggerFactory.getLogger(NoFence.class);

  @Override
  public FenceResult fence(FenceTarget target) {
    String warning =
        "fence.provider is none: nobody made sure that %s is off on %s"
            .formatted(target.domainName(), target.peer());
    LOG.warn("WARNING: {}; if it still runs there, two copies run now", warning);
    return new FenceResult.Fenced(warning);
  }

  @Override
  public String description() {
    return "none (WARNING: a failover may leave two copies running)";
  }
}
