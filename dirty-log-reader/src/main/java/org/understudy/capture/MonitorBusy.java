package org.understudy.capture;

import java.io.IOException;

/**
 * The way to QEMU's monitor is taken by somebody else's long work, such as a dump; nothing was
 * done, and nothing is wrong.
 */
public final class MonitorBusy extends IOException {
  private static final long serialVersionUID = 1;

  /** A sentence that says with what. */
  public MonitorBusy(String sentence, Throwable cause) {
    super(sentence, cause);
  }
}
