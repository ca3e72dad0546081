package org.understudy.fault;

import java.nio.file.Path;

/**
 * A step at which a campaign can strike. Costs nothing in real use: without the system property
 * {@value #PLAN} the point is a comparison of a constant with null.
 *
 * <p>The property names a file, looked at whenever a point is reached. If its first word is the
 * point's name, the {@link Fault} of the other words happens, once: the file is renamed to
 * FILE.struck before.
 */
public enum FaultPoint {
  // The daemon of the primary's host, in the order of a protection.
  /** The QEMU of the domain is surveyed. */
  GUEST_SURVEYED,
  /** A guard was started or attached to. */
  GUARD_ATTACHED,
  /** The injector runs. */
  INJECTOR_STARTED,
  /** The dirty log is armed. */
  LOG_ARMED,
  /** The SSH connection to the standby host stands. */
  LINK_CONNECTED,
  /** The standby host has a paused QEMU for us. */
  STANDBY_PREPARED,
  /** The guard knows of a pause; the guest runs. */
  PAUSE_ANNOUNCED,
  /** QEMU was told to pause. */
  PAUSE_COMMANDED,
  /** The guest stands still. */
  GUEST_STOPPED,
  /** The written pages are copied, and the guest still stands still. */
  PAGES_COPIED,
  /** The guest runs again; the guard has not heard of it. */
  GUEST_WENT_ON,
  /** All of an epoch is on its way. */
  EPOCH_SENT,

  // The guard.
  /** The daemon has announced a pause. */
  GUARD_TOLD_OF_PAUSE,
  /** The daemon has seen the guest stop. */
  GUARD_TOLD_OF_STOP,
  /** The daemon has said that its pause is over. */
  GUARD_TOLD_OF_END,

  // The daemon of the standby's host, in the order of following.
  /** A paused QEMU was started. */
  STANDBY_STARTED,
  /** It takes pages. */
  STANDBY_ARMED,
  /** The first pages of an epoch are here. */
  EPOCH_BEGUN,
  /** All of an epoch is written, and not durable yet. */
  EPOCH_WRITTEN,
  /** An epoch is durable; nobody was told. */
  EPOCH_DURABLE,
  /** The index is about to be made durable. */
  INDEX_SAVING,

  // The same, in the order of a failover.
  /** The primary is fenced. */
  FENCED,
  /** The new generation is durable. */
  GENERATION_DURABLE,
  /** LISTEN, device state and RUN are about to be written. */
  PACKAGE_READY,
  /** They are written. */
  PACKAGE_WRITTEN,
  /** The guest has its devices and runs, if it was told to. */
  DEVICES_LOADED,
  /** The first of the missing pages were sent. */
  FIRST_PAGES_SENT,
  /** All pages were sent, the end of the stream was not. */
  LAST_PAGES_SENT,
  /** QEMU is done with the stream; nothing durable says so. */
  GUEST_WHOLE;

  /** Name of the system property. */
  public static final String PLAN = "understudy.faults";

  private static final Path FILE =
      System.getProperty(PLAN) == null ? null : Path.of(System.getProperty(PLAN));

  /** To be called at the step. */
  public void reached() {
    if (FILE != null) {
      Fault.strike(this, FILE);
    }
  }
}
