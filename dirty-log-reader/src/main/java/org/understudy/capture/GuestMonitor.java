package org.understudy.capture;

import java.io.IOException;

/**
 * The few commands of QEMU's monitor that a capture needs. Over libvirt or over a QMP socket.
 * Thread-safe: {@link #saveDevicesState} blocks in one thread while the guest is paused; other
 * commands may then block as long as it does, because QEMU's main loop answers nothing meanwhile.
 *
 * <p>Every method throws {@link MonitorRefusal} with QEMU's own sentence where QEMU refuses the
 * command, {@link MonitorBusy} where somebody else keeps the monitor for longer than anybody would
 * wait, and any other {@link IOException} where QEMU or the way to it is gone.
 */
public interface GuestMonitor {
  /** The answer to a line of the human monitor, such as {@code info ramblock}. */
  String humanCommand(String line) throws IOException;

  /**
   * Gives QEMU a duplicate of a descriptor of this process (QMP {@code add-fd}).
   *
   * @param fd an open descriptor of this process, which stays open here
   */
  PassedDescriptor addDescriptor(int fd) throws IOException;

  /** Closes QEMU's duplicate (QMP {@code remove-fd}). */
  void removeDescriptor(PassedDescriptor descriptor) throws IOException;

  /**
   * Stops the guest, writes the state of all devices without RAM to a file, and starts the guest
   * again (QMP {@code xen-save-devices-state}, {@code live: false}). Returns when QEMU has replied,
   * so for a pipe not before the pipe was drained.
   *
   * @param path a path as QEMU sees it, such as {@code /proc/self/fd/31}
   */
  void saveDevicesState(String path) throws IOException;

  /** QEMU's run state, such as {@code running} or {@code paused} (QMP {@code query-status}). */
  String status() throws IOException;

  /**
   * A descriptor that QEMU holds for us.
   *
   * @param fdset id of the descriptor set that QEMU put it in
   * @param number its number in QEMU's descriptor table
   */
  record PassedDescriptor(long fdset, int number) {}
}
