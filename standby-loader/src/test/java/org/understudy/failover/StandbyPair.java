package org.understudy.failover;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.standby.StandbyGuest;
import org.understudy.standby.StandbySettings;
import org.understudy.testbed.QemuGuest;

/** A stopped primary, its image, and an armed standby of the same arguments. */
final class StandbyPair implements AutoCloseable {
  final QemuGuest primary;
  private final ArmedStandby armed;
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
    armed = new ArmedStandby(primary, image.layout(), machine, probe, settings);
    qemu = armed.qemu;
    monitor = armed.monitor;
    mapping = armed.mapping;
    standby = armed.loader;
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
    armed.close();
  }
}
