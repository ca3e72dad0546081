package org.understudy.fence;

/** What came of a fence. */
public sealed interface FenceResult {
  /** The guest does not run there; {@code how} says why that is known. */
  record Fenced(String how) implements FenceResult {}

  /** It may still run there: nothing may be started. {@code why} is a sentence. */
  record Failed(String why) implements FenceResult {}
}
