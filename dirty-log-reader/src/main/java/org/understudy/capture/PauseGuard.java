package org.understudy.capture;

import java.io.IOException;

/**
 * The watch over a pause: an independent process that ends it at its deadline, whatever became of
 * us. No pause begins without its word. Calls come from the capture thread; all waits are bounded.
 */
public interface PauseGuard {
  /**
   * Announces a pause before its command is sent.
   *
   * @param pipeFd our descriptor of the pipe's reading end
   * @throws IOException the guard is gone or did not answer: do not pause
   */
  void begin(int pipeFd) throws IOException;

  /** Announces that the guest is stopped; the deadline counts from here. Does not wait. */
  void firstByte() throws IOException;

  /**
   * The guest is about to go on: what has to be known of the instant at which it stands still has
   * to be known by now. Waits a few milliseconds at most; the guest stands still meanwhile.
   */
  default void ending() {}

  /**
   * Asks how the pause ended. The guest runs again, or the pipe is closed.
   *
   * @return whether the pause ended before the guard had to end it; if not, the guest may have run
   *     while memory was copied
   * @throws IOException the guard is gone or did not answer: nobody can say
   */
  boolean endedInTime() throws IOException;
}
