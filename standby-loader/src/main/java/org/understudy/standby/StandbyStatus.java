package org.understudy.standby;

/**
 * What a standby's monitor says.
 *
 * @param runState QEMU's run state (QMP {@code query-status}): {@link #ARMED} until a promotion
 * @param disturbance a sentence if somebody has resumed, reset or otherwise used the standby since
 *     it was started, as far as the monitor can know (libvirt's domain state and events); else
 *     empty. QEMU itself keeps the run state {@code inmigrate} when it is told {@code cont}.
 */
public record StandbyStatus(String runState, String disturbance) {
  /** The run state of a QEMU that waits for a migration. */
  public static final String ARMED = "inmigrate";

  /** A run state without a disturbance. */
  public StandbyStatus(String runState) {
    this(runState, "");
  }
}
