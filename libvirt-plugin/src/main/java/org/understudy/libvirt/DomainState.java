package org.understudy.libvirt;

import java.util.List;
import java.util.Locale;

/**
 * A domain's state and why it is in it, as libvirt tells.
 *
 * @param run the state
 * @param reason libvirt's word for the reason, such as {@code user}, {@code crashed}
 */
public record DomainState(Run run, String reason) {
  /** virDomainState, in its order. */
  public enum Run {
    NO_STATE,
    RUNNING,
    BLOCKED,
    PAUSED,
    SHUTTING_DOWN,
    SHUT_OFF,
    CRASHED,
    SLEEPING;

    /** In a sentence: {@code shut off}. */
    public String words() {
      return name().toLowerCase(Locale.ROOT).replace('_', ' ');
    }

    /** Whether there is a QEMU. */
    public boolean active() {
      return this != NO_STATE && this != SHUT_OFF && this != CRASHED;
    }
  }

  // virDomainRunningReason, virDomainPausedReason, virDomainShutoffReason of libvirt-domain.h 9.0
  private static final List<String> RUNNING =
      List.of(
          "unknown",
          "booted",
          "migrated",
          "restored",
          "from snapshot",
          "unpaused",
          "migration canceled",
          "save canceled",
          "wakeup",
          "crashed",
          "postcopy",
          "postcopy failed");
  private static final List<String> PAUSED =
      List.of(
          "unknown",
          "user",
          "migrating",
          "saving",
          "dumping",
          "I/O error",
          "watchdog",
          "from snapshot",
          "shutting down",
          "snapshot",
          "crashed",
          "starting up",
          "postcopy",
          "postcopy failed",
          "api error");
  private static final List<String> SHUT_OFF =
      List.of(
          "unknown",
          "shutdown",
          "destroyed",
          "crashed",
          "migrated",
          "saved",
          "failed",
          "from snapshot",
          "daemon");

  static DomainState of(int state, int reason) {
    Run run = state >= 0 && state < Run.values().length ? Run.values()[state] : Run.NO_STATE;
    List<String> words =
        switch (run) {
          case RUNNING -> RUNNING;
          case PAUSED -> PAUSED;
          case SHUT_OFF -> SHUT_OFF;
          case NO_STATE, BLOCKED, SHUTTING_DOWN, CRASHED, SLEEPING -> List.of();
        };
    return new DomainState(
        run, reason >= 0 && reason < words.size() ? words.get(reason) : "reason " + reason);
  }

  @Override
  public String toString() {
    return run.words() + " (" + reason + ")";
  }
}
