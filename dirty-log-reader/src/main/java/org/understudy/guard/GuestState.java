package org.understudy.guard;

/** What the guard knows of the guest. The codes are those of the datagram; 0 is never valid. */
public enum GuestState {
  /** QEMU's process runs; the guest in it may be paused. */
  ALIVE(1),
  /** QEMU ended, and not because anybody asked for it. */
  CRASHED(2),
  /** QEMU ended by an orderly shutdown, destroy, save or migration. */
  ENDED_ON_PURPOSE(3),
  /** QEMU ended and nobody could say why. */
  UNKNOWN(4),
  /** QEMU ended and why is being asked; one of the others follows within seconds. */
  ENDING(5);

  private final int code;

  GuestState(int code) {
    this.code = code;
  }

  int code() {
    return code;
  }

  /** The state of a code, or null. */
  static GuestState of(int code) {
    for (GuestState state : values()) {
      if (state.code == code) {
        return state;
      }
    }
    return null;
  }
}
