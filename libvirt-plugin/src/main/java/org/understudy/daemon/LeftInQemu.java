package org.understudy.daemon;

import java.io.IOException;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.LibvirtGuestMonitor;
import org.understudy.linux.PipeEnds;

/**
 * What pauses that no daemon survived leave in QEMU: the descriptor that QEMU was given, which can
 * be taken back, and, in QEMU 7.2, the one by which it wrote, which nobody can close. So the number
 * of the latter has a bound: a daemon that dies in every pause must not eat up QEMU's descriptors.
 */
final class LeftInQemu {
  /** libvirt allows a QEMU at least 1024 descriptors; a QEMU writes into three or four pipes. */
  private static final int MOST_PIPES = 64;

  private LeftInQemu() {}

  /**
   * Takes back what can be taken back.
   *
   * @throws IOException with a sentence: too much was left for another pause to be risked
   */
  static void clear(ThisHost host, LibvirtDomain domain, LibvirtGuestMonitor monitor, int qemuPid)
      throws IOException {
    int removed = monitor.removeLeftDescriptors();
    if (removed > 0) {
      host.events()
          .add(
              domain.name(),
              removed + " descriptor(s) of an earlier daemon were taken back from QEMU " + qemuPid);
    }
    int pipes = PipeEnds.writing(qemuPid);
    if (pipes > MOST_PIPES) {
      throw new IOException(
          "QEMU "
              + qemuPid
              + " of domain "
              + domain.name()
              + " writes into "
              + pipes
              + " pipes, at most "
              + MOST_PIPES
              + " are allowed: daemons that died in its pauses left them; it is not paused any"
              + " more, find out why they died and migrate or restart the domain");
    }
  }
}
