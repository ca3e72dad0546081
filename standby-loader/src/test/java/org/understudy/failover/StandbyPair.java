package org.understudy.failover;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.understudy.capture.RamMap;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.standby.StandbyGuest;
import org.understudy.standby.StandbyProcess;
import org.understudy.standby.StandbySettings;
import org.understudy.testbed.QemuGuest;

/** A stopped primary, its image, and an armed standby of the same arguments. */
final class StandbyPair implements AutoCloseable {
  final QemuGuest primary;
  final QemuGuest qemu;
  final QmpStandby monitor;
  final StoppedGuest image;
  final GuestMapping mapping; // of the standby
  final StandbyGuest standby;

  StandbyPair(QemuGuest primary, StoppedGuest image, String machine, boolean probe)
      throws IOException {
    this(primary, image, machine, probe, StandbySettings.defaults());
  }

  StandbyPair(
      QemuGuest primary,
      StoppedGuest image,
      String machine,
      boolean probe,
      StandbySettings settings)
      throws IOException {
    this.primary = primary;
    this.image = image;
    qemu = primary.startStandby();
    try {
      monitor = new QmpStandby(qemu.qmp());
      GuestMapping own = RamMap.survey(monitor.survey(), qemu.pid());
      mapping = new GuestMapping(qemu.pid(), image.layout(), inOrder(own));
      standby =
          StandbyGuest.arm(
              image.layout(),
              machine,
              monitor,
              qemu.folder().resolve("incoming"),
              probe ? StandbyProcess.of(own, image.layout()) : StandbyProcess.of(qemu.pid()),
              settings);
    } catch (IOException | RuntimeException failure) {
      qemu.close();
      throw failure;
    }
  }

  /** The standby's addresses in the order of the primary's blocks. */
  private long[] inOrder(GuestMapping own) {
    long[] addresses = new long[image.layout().blocks().size()];
    for (int i = 0; i < addresses.length; i++) {
      int block = own.layout().blockNamed(image.layout().blocks().get(i).name());
      addresses[i] = own.hostAddress()[block];
    }
    return addresses;
  }

  /** Places pages with the image's content, and says so in the image. */
  void place(PageSet pages) throws IOException {
    ByteBuffer content = ByteBuffer.allocateDirect(Pages.SIZE);
    for (int page = pages.next(0); page >= 0; page = pages.next(page + 1)) {
      image.read(page, content.clear());
      standby.place(page, content.flip());
    }
    standby.flush();
    image.fastPages().addAll(pages);
  }

  @Override
  public void close() throws IOException {
    standby.close();
    qemu.close();
  }
}
