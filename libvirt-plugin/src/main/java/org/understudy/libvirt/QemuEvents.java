package org.understudy.libvirt;

import com.sun.jna.Callback;
import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.util.UUID;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.libvirt.LifecycleEvent.Change;

/**
 * The one event of QEMU's own that libvirt does not translate and that concerns an armed standby:
 * POWERDOWN, the power button that {@code virsh reboot} presses, after which libvirt would turn the
 * guest's next power-off into a reboot. Names and arguments are those of libvirt/libvirt-qemu.h.
 */
final class QemuEvents {
  private static final Logger log = LoggerFactory.getLogger(QemuEvents.class);
  private static final String POWERDOWN = "POWERDOWN";
  private static final int UUID_TEXT_BYTES = 37;

  /** Calls of one connection, which libvirt makes in its event loop. */
  interface Heard extends Callback {
    void call(
        Pointer connection,
        Pointer domain,
        String event,
        long seconds,
        int micros,
        String details,
        Pointer opaque);
  }

  private interface Qemu extends Library {
    int virConnectDomainQemuMonitorEventRegister(
        Pointer connection,
        Pointer domain,
        String event,
        Heard heard,
        Pointer opaque,
        Pointer free,
        int flags);
  }

  private interface Base extends Library {
    Base LIBRARY = Native.load("virt", Base.class);

    int virDomainGetUUIDString(Pointer domain, byte[] text);

    String virDomainGetName(Pointer domain);
  }

  private QemuEvents() {}

  /**
   * Has libvirt tell of them as long as the connection lives.
   *
   * @return what has to be kept as long: libvirt calls it
   */
  static Heard listen(Pointer connection, LifecycleEvent.Listener to) {
    Heard heard =
        (of, domain, event, seconds, micros, details, opaque) -> {
          byte[] text = new byte[UUID_TEXT_BYTES];
          if (Base.LIBRARY.virDomainGetUUIDString(domain, text) == 0) {
            UUID uuid = UUID.fromString(Native.toString(text));
            String name = Base.LIBRARY.virDomainGetName(domain);
            to.changed(new LifecycleEvent(uuid, name, Change.POWER_BUTTON));
          }
        };
    try {
      Qemu library = Native.load("libvirt-qemu.so.0", Qemu.class);
      if (library.virConnectDomainQemuMonitorEventRegister(
              connection, null, POWERDOWN, heard, null, null, 0)
          < 0) {
        log.warn("libvirt does not tell of {}: {}", POWERDOWN, LibvirtHost.lastError());
      }
    } catch (UnsatisfiedLinkError e) {
      log.warn("libvirt does not tell of {}: {}", POWERDOWN, e.getMessage());
    }
    return heard;
  }
}
