package org.understudy.daemon;

import java.io.IOException;
import org.understudy.libvirt.DomainControl;
import org.understudy.libvirt.DomainState;
import org.understudy.libvirt.LibvirtDomain;

/**
 * Whether an epoch can be taken of a guest now. Asked between captures: in a pause of our own
 * libvirt would call the guest paused, too.
 *
 * @param kind what it is
 * @param sentence why no epoch can be taken; empty if one can
 */
record GuestReadiness(Kind kind, String sentence) {
  enum Kind {
    READY,
    /** Somebody suspended it and meant it. */
    SUSPENDED,
    /** It stands still for another reason, or its QEMU is about to end. */
    STANDS,
    /** libvirt works on the domain and lets nobody else to its monitor. */
    BUSY
  }

  static GuestReadiness of(LibvirtDomain domain) throws IOException {
    DomainState state = domain.state();
    String name = "domain " + domain.name();
    return switch (state.run()) {
      case RUNNING, BLOCKED -> free(domain, name);
      case PAUSED -> {
        // libvirt pauses it by itself in the middle of a job.
        GuestReadiness free = free(domain, name);
        if (free.kind == Kind.BUSY) {
          yield free;
        }
        yield state.reason().equals("user")
            ? new GuestReadiness(Kind.SUSPENDED, name + " is suspended")
            : new GuestReadiness(Kind.STANDS, name + " stands still: it is " + state);
      }
      case CRASHED ->
          new GuestReadiness(
              Kind.STANDS, name + " panicked and is kept as it is: it is " + state + "; reset it");
      case SLEEPING ->
          new GuestReadiness(Kind.STANDS, name + " sleeps; run: virsh dompmwakeup " + name);
      case NO_STATE, SHUTTING_DOWN, SHUT_OFF ->
          new GuestReadiness(Kind.STANDS, name + " is " + state);
    };
  }

  private static GuestReadiness free(LibvirtDomain domain, String name) throws IOException {
    DomainControl control = domain.control();
    return switch (control.state()) {
      case FREE -> new GuestReadiness(Kind.READY, "");
      case JOB ->
          new GuestReadiness(
              Kind.BUSY,
              "libvirt is busy with a job of "
                  + name
                  + " (save, dump, migration, snapshot or backup; see virsh domjobinfo) since "
                  + control.forMs() / 1000
                  + " s; no epoch until its end");
      case OCCUPIED ->
          new GuestReadiness(
              Kind.BUSY,
              "libvirt is busy with a call for "
                  + name
                  + " since "
                  + control.forMs() / 1000
                  + " s; no epoch until its end");
      case ERROR ->
          new GuestReadiness(
              Kind.STANDS, "libvirt says that the monitor of " + name + " does not work");
    };
  }
}
