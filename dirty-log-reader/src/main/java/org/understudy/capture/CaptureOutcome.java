package org.understudy.capture;

import java.util.List;

/** What became of an attempt to capture an epoch. */
public sealed interface CaptureOutcome {
  /** The epoch's number. */
  long epoch();

  /** The pauses it took, in order; one in steady state. */
  List<PauseTiming> pauses();

  /**
   * The sink has committed the epoch.
   *
   * @param pages pages given to the sink, a page that came twice counted twice
   * @param zeroPages how many of them were zero
   * @param captureNs from the first command to the end of the last pause
   * @param sinkNs from then to the sink's commit, while the guest ran
   */
  record Committed(
      long epoch, List<PauseTiming> pauses, int pages, int zeroPages, long captureNs, long sinkNs)
      implements CaptureOutcome {}

  /**
   * The epoch was discarded; all of its pages stay marked and come with a later epoch.
   *
   * @param fault what went wrong
   * @param status QEMU's run state asked afterwards, or {@code unknown: …} with the reason
   * @param reason a sentence
   */
  record Discarded(long epoch, List<PauseTiming> pauses, Fault fault, String status, String reason)
      implements CaptureOutcome {}

  /** Why an epoch was discarded. */
  enum Fault {
    /** The guest wrote faster than pages could be copied, for the allowed number of rounds. */
    NOT_CONVERGING,
    /** The guard is gone or did not answer; nothing was paused without it. */
    NO_GUARD,
    /** The guard ended the pause at its deadline. */
    DEADLINE,
    /** QEMU refused a command, ended, or wrote something that is not a device state. */
    QEMU,
    /** QEMU's RAM blocks are no longer those of the mapping; survey them anew. */
    LAYOUT_CHANGED,
    /** The guest has other devices than its standby. */
    CONFIGURATION_CHANGED,
    /** Somebody else's long work keeps the monitor; nothing was paused. */
    BUSY,
    /** The dirty log or the memory could not be read. */
    MEMORY,
    /** The sink failed. */
    SINK
  }
}
