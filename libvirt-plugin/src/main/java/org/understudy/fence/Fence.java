package org.understudy.fence;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;

/** A way to make sure that a host no longer runs a guest. */
public sealed interface Fence permits ExecFence, NoFence {
  /** The provider that the configuration names: a script, or none. */
  static Fence of(Optional<Path> script, Duration timeout) {
    return script.isPresent() ? new ExecFence(script.get(), timeout) : new NoFence();
  }

  /** Fences; blocks until the outcome is known. */
  FenceResult fence(FenceTarget target) throws InterruptedException;

  /** For status: what kind of fence this is. */
  String description();
}
