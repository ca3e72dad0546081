package org.understudy.libvirt;

import org.libvirt.Connect;
import org.libvirt.Library;
import org.libvirt.LibvirtException;
import org.libvirt.jna.Libvirt.VirErrorCallback;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * libvirt's event loop, one a process, in the thread {@code libvirt-events}; started before the
 * first connection.
 */
final class LibvirtEvents {
  private static final Logger log = LoggerFactory.getLogger(LibvirtEvents.class);

  // Kept for ever: libvirt calls it as long as the process lives. Without it every error, also one
  // that is expected, is printed to stderr.
  private static final VirErrorCallback SILENT = (userData, error) -> {};
  private static boolean started;

  private LibvirtEvents() {}

  /** Starts it, once. */
  static synchronized void start() throws LibvirtFault {
    if (started) {
      return;
    }
    try {
      Connect.setErrorCallback(SILENT);
      Library.initEventLoop();
    } catch (LibvirtException e) {
      throw new LibvirtFault("starting libvirt's event loop", e);
    } catch (UnsatisfiedLinkError e) {
      throw new LibvirtFault(
          "libvirt.so.0 is not on this host, install libvirt0: " + e.getMessage());
    }
    Thread loop = new Thread(LibvirtEvents::run, "libvirt-events");
    loop.setDaemon(true);
    loop.start();
    started = true;
  }

  private static void run() {
    while (true) {
      try {
        Library.processEvent();
      } catch (LibvirtException e) {
        log.error("libvirt's event loop: {}", e.getMessage());
        try {
          Thread.sleep(100); // an error that stays must not take a core
        } catch (InterruptedException interrupted) {
          return;
        }
      }
    }
  }
}
