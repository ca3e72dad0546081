package org.understudy.link;

/** Why a primary ends a conversation in an orderly way. */
public enum Goodbye {
  /** The guest is no longer protected. */
  PROTECTION_ENDS(1),
  /** The standby takes over by plan. */
  SWITCHOVER(2),
  /** The primary's daemon stops; the guest goes on. */
  DAEMON_STOPS(3);

  private final int code;

  Goodbye(int code) {
    this.code = code;
  }

  int code() {
    return code;
  }

  static Goodbye of(int code, long offset) throws LinkFormatException {
    for (Goodbye reason : values()) {
      if (reason.code == code) {
        return reason;
      }
    }
    throw new LinkFormatException(offset, "GOODBYE for reason " + code);
  }
}
