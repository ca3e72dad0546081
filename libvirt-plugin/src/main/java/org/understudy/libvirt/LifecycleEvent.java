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
    /** The guest powered off, or QEMU was asked to end (also by SIGTERM). */
    SHUT_DOWN,
    /** {@code virsh destroy}. */
    DESTROYED,
    /** The guest panicked; what its configuration wants then follows. */
    PANICKED,
    /** The guest panicked and its configuration ended it. */
    CRASHED,
    /** QEMU is gone without a word: killed, aborted, out of memory. */
    FAILED,
    MIGRATED,
    SAVED,
    /** QEMU ended because the domain goes back to a snapshot, with a new one. */
    REVERTED,
    /** Its persistent configuration was changed, or it has one no longer. */
    DEFINED,
    /** Put to sleep, or something newer than this program. */
    OTHER;

    /** Whether QEMU has ended. */
    public boolean ended() {
      return switch (this) {
        case SHUT_DOWN, DESTROYED, CRASHED, FAILED, MIGRATED, SAVED, REVERTED -> true;
        case STARTED, SUSPENDED, RESUMED, RESET, PANICKED, DEFINED, OTHER -> false;
      };
    }

    /**
     * Whether somebody wanted the end, if only by the domain's {@code on_crash}, so that no
     * failover may follow.
     */
    public boolean endedOnPurpose() {
      return switch (this) {
        case SHUT_DOWN, DESTROYED, MIGRATED, SAVED, CRASHED, REVERTED -> true;
        case STARTED, SUSPENDED, RESUMED, RESET, PANICKED, DEFINED, FAILED, OTHER -> false;
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
      case CRASHED -> Change.PANICKED;
      case DEFINED, UNDEFINED -> Change.DEFINED;
      case SHUTDOWN, PMSUSPENDED, UNKNOWN -> Change.OTHER;
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
      case FROM_SNAPSHOT -> Change.REVERTED;
      // Nothing that anybody should take for a failure of the host.
      case UNKNOWN -> Change.OTHER;
    };
  }
}
