package org.understudy.ssh;

import java.io.IOException;

/** A peer that cannot be reached, is not who it should be, or does not trust us; one sentence. */
public final class PeerException extends IOException {
  /** Why a connection did not come about. */
  public enum Reason {
    /** Nobody answers, or not in time. */
    UNREACHABLE,
    /** The peer shows another key than the pinned one. */
    WRONG_KEY,
    /** The peer refuses this host's key. */
    NOT_TRUSTED
  }

  private final Reason reason;

  PeerException(Reason reason, String sentence, Throwable cause) {
    super(sentence, cause);
    this.reason = reason;
  }

  public Reason reason() {
    return reason;
  }
}
