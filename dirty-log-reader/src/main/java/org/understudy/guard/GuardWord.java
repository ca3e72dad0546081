package org.understudy.guard;

/**
 * The last that a guard said.
 *
 * @param guest the guest's state
 * @param daemonAlive whether the daemon beside the guard runs
 * @param sequence the datagram's number
 * @param heardNs when it came, by System.nanoTime of the listening process
 */
public record GuardWord(GuestState guest, boolean daemonAlive, long sequence, long heardNs) {
  /** How long ago it came, in milliseconds. */
  public long ageMs() {
    return (System.nanoTime() - heardNs) / 1_000_000;
  }
}
