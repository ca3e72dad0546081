package org.understudy.capture;

import org.understudy.guest.Pages;

/**
 * Sizes and limits of captures.
 *
 * @param slabBytes direct memory that pages are copied to inside the pause; allocated once
 * @param pausedCopyPages most pages copied inside one pause; more are copied while the guest runs
 *     and another pause follows
 * @param maximumRounds pauses tried for one epoch before it is given up as not converging
 * @param deviceStateLimitBytes longest device state accepted
 * @param firstByteLimitMs longest wait for QEMU to drain, flush and stop the guest
 * @param replyLimitMs longest wait for QEMU's reply once the pipe is being drained
 */
public record CaptureSettings(
    int slabBytes,
    int pausedCopyPages,
    int maximumRounds,
    int deviceStateLimitBytes,
    long firstByteLimitMs,
    long replyLimitMs) {

  /** A slab of 128 MiB, all of which may be filled in a pause; 8 rounds; 16 MiB; 30 s; 2 s. */
  public static final CaptureSettings DEFAULT = ofSlab(128 << 20);

  /** Checks the values. */
  public CaptureSettings {
    if (slabBytes < Pages.SIZE || slabBytes % Pages.SIZE != 0) {
      throw new IllegalArgumentException(
          "a slab of " + slabBytes + " bytes, expected a positive multiple of " + Pages.SIZE);
    }
    if (pausedCopyPages < 1 || pausedCopyPages > slabBytes >> Pages.SHIFT) {
      throw new IllegalArgumentException(
          pausedCopyPages + " pages in a pause, expected 1 to " + (slabBytes >> Pages.SHIFT));
    }
    if (maximumRounds < 2) {
      throw new IllegalArgumentException(maximumRounds + " rounds, expected at least 2");
    }
  }

  /** The defaults with a slab of another size, all of which may be filled in a pause. */
  public static CaptureSettings ofSlab(int slabBytes) {
    return new CaptureSettings(slabBytes, slabBytes >> Pages.SHIFT, 8, 16 << 20, 30_000, 2_000);
  }
}
