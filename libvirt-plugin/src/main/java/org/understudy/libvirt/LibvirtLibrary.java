package org.understudy.libvirt;

import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.IntByReference;
import com.sun.jna.ptr.LongByReference;
import com.sun.jna.ptr.PointerByReference;

/**
 * The functions of libvirt.so.0 and libvirt-qemu.so.0 that libvirt-java lacks. Names and arguments
 * are those of libvirt/libvirt-domain.h, libvirt-host.h and libvirt-qemu.h. Objects that are
 * returned belong to the caller.
 */
interface LibvirtLibrary extends Library {
  LibvirtLibrary BASE = Native.load("virt", LibvirtLibrary.class);

  Pointer virDomainLookupByUUIDString(Pointer connection, String uuid);

  int virDomainFree(Pointer domain);

  int virDomainGetState(Pointer domain, IntByReference state, IntByReference reason, int flags);

  int virDomainGetTime(Pointer domain, LongByReference seconds, IntByReference nanos, int flags);

  int virDomainSetTime(Pointer domain, long seconds, int nanos, int flags);

  /** {@code info}: int state, int details, unsigned long long stateTime. */
  int virDomainGetControlInfo(Pointer domain, Pointer info, int flags);

  int virGetLastErrorCode();

  Pointer virConnectGetDomainCapabilities(
      Pointer connection, String emulator, String arch, String machine, String type, int flags);

  int virConnectCompareHypervisorCPU(
      Pointer connection,
      String emulator,
      String arch,
      String machine,
      String type,
      String cpuXml,
      int flags);

  Pointer virGetLastErrorMessage();

  /** The part of it that concerns QEMU, a library of its own. */
  interface Qemu extends Library {
    int virDomainQemuMonitorCommandWithFiles(
        Pointer domain,
        String command,
        int filesIn,
        int[] descriptorsIn,
        IntByReference filesOut,
        PointerByReference descriptorsOut,
        PointerByReference result,
        int flags);
  }

  /** libc's free, for strings that libvirt allocated. */
  static String taken(Pointer text) {
    String copy = text.getString(0, "UTF-8");
    Native.free(Pointer.nativeValue(text));
    return copy;
  }

  /** Loads libvirt-qemu.so.0, or throws UnsatisfiedLinkError. */
  static Qemu qemu() {
    return Loaded.QEMU;
  }

  /** Loaded on first use: a host without the library shall still be able to say so. */
  final class Loaded {
    private static final Qemu QEMU = Native.load("libvirt-qemu.so.0", Qemu.class);

    private Loaded() {}
  }
}
