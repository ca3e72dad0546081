package org.understudy.standby;

/**
 * How long the loader waits.
 *
 * @param statusIntervalMs between two looks at the armed standby's status
 * @param replyDeadlineMs for QEMU's answer to a PING, and for its socket to appear
 * @param stallDeadlineMs for a write that QEMU does not take; the standby is given up then
 * @param socketBytes of the socket's buffer: what is in it cannot be overtaken by a wanted page
 */
public record StandbySettings(
    long statusIntervalMs, long replyDeadlineMs, long stallDeadlineMs, int socketBytes) {
  /** Values for real use. */
  public static StandbySettings defaults() {
    return new StandbySettings(1_000, 10_000, 30_000, 128 << 10);
  }
}
