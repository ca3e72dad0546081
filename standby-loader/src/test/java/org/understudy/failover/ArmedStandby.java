package org.understudy.failover;

import java.io.IOException;
import org.understudy.capture.RamMap;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;
import org.understudy.standby.StandbyGuest;
import org.understudy.standby.StandbyProcess;
import org.understudy.standby.StandbySettings;
import org.understudy.testbed.QemuGuest;

/** A QEMU of a primary's arguments, paused and armed to take its pages. */
public final class ArmedStandby implements AutoCloseable {
  public final QemuGuest qemu;
  final QmpStandby monitor;

  /** Where its QEMU has the primary's blocks, in the primary's order. */
  public final GuestMapping mapping;

  public final StandbyGuest loader;

  /**
   * Starts and arms it.
   *
   * @param layout the primary's
   * @param probe whether the loader may look at the presence of pages
   */
  public ArmedStandby(
      QemuGuest primary,
      GuestLayout layout,
      String machine,
      boolean probe,
      StandbySettings settings)
      throws IOException {
    qemu = primary.startStandby();
    try {
      monitor = new QmpStandby(qemu.qmp());
      // Surveyed before it is armed: reading its memory later would fill it with pages of zeros.
      GuestMapping own = RamMap.survey(monitor.survey(), qemu.pid());
      mapping = new GuestMapping(qemu.pid(), layout, inOrder(layout, own));
      loader =
          StandbyGuest.arm(
              layout,
              machine,
              monitor,
              qemu.folder().resolve("incoming"),
              probe ? StandbyProcess.of(own, layout) : StandbyProcess.of(qemu.pid()),
              settings);
    } catch (IOException | RuntimeException failure) {
      qemu.close();
      throw failure;
    }
  }

  private static long[] inOrder(GuestLayout layout, GuestMapping own) {
    long[] addresses = new long[layout.blocks().size()];
    for (int i = 0; i < addresses.length; i++) {
      int block = own.layout().blockNamed(layout.blocks().get(i).name());
      addresses[i] = own.hostAddress()[block];
    }
    return addresses;
  }

  @Override
  public void close() throws IOException {
    loader.close();
    qemu.close();
  }
}
