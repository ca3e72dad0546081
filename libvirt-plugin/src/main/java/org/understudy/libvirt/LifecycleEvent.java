package org.understudy.libvirt;

import java.util.UUID;
import org.libvirt.event.DomainEvent;
import org.libvirt.event.StoppedDetail;

/**
 * What libvirt told of a domain's life.
 *
 * @param uuid of the domain
 * @param domain its name
 * @param change what happened
 */
public record LifecycleEvent(UUID uuid, String domain, Change change) {
  /** What can happen to a domain. Each capture's pause is a SUSPENDED and a RESUMED. */
  public enum Change {
    STARTED,
    SUSPENDED,
    RESUMED,
    /** The guest was reset or rebooted; QEMU is the same. */
    RESET,
    /** Somebody pressed the guest's power button ({@code virsh shutdown}, {@code reboot}). */
    POWER_BUTTON,
    /** The guest powered off, or QEMU was asked to end (also by SIGTERM). */
    SHUT_DOWN,
    /** {@code virsh destroy}. */
    DESTROYED,
    /** The guest panicked and its configuration ends it then. */
    CRASHED,
    /** QEMU is gone without a word: killed, aborted, out of memory. */
    FAILED,
    MIGRATED,
    SAVED,
    /** Defined, undefined, put to sleep, reverted, or something newer than this program. */
    OTHER;

    /** Whether QEMU has ended. */
    public boolean ended() {
      return switch (this) {
        case SHUT_DOWN, DESTROYED, CRASHED, FAILED, MIGRATED, SAVED -> true;
        case STARTED, SUSPENDED, RESUMED, RESET, POWER_BUTTON, OTHER -> false;
      };
    }

    /** Whether somebody wanted the end, so that no failover may follow. */
    public boolean endedOnPurpose() {
      return switch (this) {
        case SHUT_DOWN, DESTROYED, MIGRATED, SAVED -> true;
        case STARTED, SUSPENDED, RESUMED, RESET, POWER_BUTTON, CRASHED, FAILED, OTHER -> false;
      };
    }
  }

  /** Hears of every domain of a host, in the thread {@code libvirt-events}; must not block. */
  public interface Listener {
    void changed(LifecycleEvent event);

    /** The connection broke (false; events may have been lost) or is there again (true). */
    default void connected(boolean again, String sentence) {}
  }

  static Change changeOf(DomainEvent event) {
    return switch (event.getType()) {
      case STARTED -> Change.STARTED;
      case SUSPENDED -> Change.SUSPENDED;
      case RESUMED -> Change.RESUMED;
      case STOPPED -> stopped(event.getDetail());
      case CRASHED -> Change.OTHER;
      case DEFINED, UNDEFINED, SHUTDOWN, PMSUSPENDED, UNKNOWN -> Change.OTHER;
    };
  }

  private static Change stopped(StoppedDetail detail) {
    return switch (detail) {
      case SHUTDOWN -> Change.SHUT_DOWN;
      case DESTROYED -> Change.DESTROYED;
      case CRASHED -> Change.CRASHED;
      case FAILED -> Change.FAILED;
      case MIGRATED -> Change.MIGRATED;
      case SAVED -> Change.SAVED;
      // Neither is an orderly end that anybody should take for a failure of the host.
      case FROM_SNAPSHOT, UNKNOWN -> Change.OTHER;
    };
  }
}
