package org.understudy.libvirt;

import com.sun.jna.Pointer;

/**
 * Whether libvirt would run a command of a domain's monitor at once, or what keeps it:
 * virDomainControlInfo.
 *
 * @param state what
 * @param forMs since when
 */
public record DomainControl(State state, long forMs) {
  static final int BYTES = 16;

  /** VIR_DOMAIN_CONTROL_ERROR_REASON_INTERNAL. */
  private static final int ERROR_REASON_INTERNAL = 3;

  /** virDomainControlState, in its order. */
  public enum State {
    FREE,
    /** A long job: save, dump, migration, snapshot, backup. */
    JOB,
    /** A single call. */
    OCCUPIED,
    /** The monitor does not work. */
    ERROR
  }

  static DomainControl of(Pointer info) {
    int code = info.getInt(0);
    State state = code >= 0 && code < State.values().length ? State.values()[code] : State.ERROR;
    // An "internal" error is a job between two monitor commands.
    boolean betweenCommands = state == State.ERROR && info.getInt(4) == ERROR_REASON_INTERNAL;
    return new DomainControl(betweenCommands ? State.OCCUPIED : state, info.getLong(8));
  }
}
