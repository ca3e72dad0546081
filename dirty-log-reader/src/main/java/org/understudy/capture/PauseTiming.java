package org.understudy.capture;

/**
 * Where the time of one pause went.
 *
 * @param openNs from sending the command to the first byte: QEMU drains and flushes the disks and
 *     stops the guest; the disks' time, not ours, and the guest runs for most of it
 * @param scanNs the re-arming scan of the dirty log
 * @param copyNs copying pages into the slab; 0 where they did not fit and are copied afterwards
 * @param deviceStateNs draining the pipe until QEMU's reply; the guest runs again at its end
 * @param pausedNs from the first byte to QEMU's reply: an upper bound of what the guest lost to us
 * @param pages pages copied in the pause
 * @param deviceStateBytes length of the device state
 */
public record PauseTiming(
    long openNs,
    long scanNs,
    long copyNs,
    long deviceStateNs,
    long pausedNs,
    int pages,
    int deviceStateBytes) {

  @Override
  public String toString() {
    return String.format(
        "open %.2f ms, scan %.2f ms, copy %.2f ms, device state %.2f ms, paused %.2f ms; %d pages, %d bytes of device state",
        openNs / 1e6,
        scanNs / 1e6,
        copyNs / 1e6,
        deviceStateNs / 1e6,
        pausedNs / 1e6,
        pages,
        deviceStateBytes);
  }
}
