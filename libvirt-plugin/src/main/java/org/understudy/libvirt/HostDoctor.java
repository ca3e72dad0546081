package org.understudy.libvirt;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.understudy.libvirt.Finding.Refused;
import org.understudy.libvirt.Finding.Warning;

/** What {@code understudy doctor} says of this host's libvirt and QEMU. */
public final class HostDoctor {
  private static final long DESCRIPTOR_PASSING = 8_002_000; // libvirt 8.2.0

  /**
   * The diagnosis.
   *
   * @param facts lines such as {@code libvirt 9.0.0}
   * @param findings what is amiss
   */
  public record Diagnosis(List<String> facts, List<Finding> findings) {}

  private HostDoctor() {}

  /**
   * Looks at the host behind {@code uri}, which must be this one; never throws for what is amiss.
   */
  public static Diagnosis examine(String uri) {
    List<String> facts = new ArrayList<>();
    List<Finding> findings = new ArrayList<>();
    try (LibvirtHost host = LibvirtHost.open(uri)) {
      facts.add("libvirt " + host.version() + " at " + uri + " on " + host.hostName());
      library(host, facts, findings);
      emulators(host, facts, findings);
    } catch (IOException e) {
      findings.add(
          new Refused(e.getMessage() + "; start libvirtd (or virtqemud), or set [libvirt] uri"));
    }
    try {
      configuration(QemuConf.of(uri), facts, findings);
    } catch (IOException e) {
      findings.add(new Refused("libvirt's configuration cannot be read: " + e));
    }
    return new Diagnosis(List.copyOf(facts), List.copyOf(findings));
  }

  private static void library(LibvirtHost host, List<String> facts, List<Finding> findings)
      throws IOException {
    try {
      NativeLibrary.getInstance("libvirt-qemu.so.0")
          .getFunction("virDomainQemuMonitorCommandWithFiles");
      facts.add("libvirt-qemu.so.0 can pass descriptors");
    } catch (UnsatisfiedLinkError e) {
      findings.add(
          new Refused(
              "libvirt-qemu.so.0 of this host cannot pass descriptors to QEMU, install libvirt 8.2"
                  + " or later: "
                  + e.getMessage().lines().findFirst().orElse("")));
    }
    String[] numbers = host.version().split("\\.", -1);
    long daemon =
        Long.parseLong(numbers[0]) * 1_000_000
            + Long.parseLong(numbers[1]) * 1000
            + Long.parseLong(numbers[2]);
    if (daemon < DESCRIPTOR_PASSING) {
      findings.add(
          new Refused(
              "libvirt "
                  + host.version()
                  + " cannot pass descriptors to QEMU; 8.2.0 or later is needed"));
    }
    facts.add("native calls by JNA " + Native.VERSION);
  }

  private static void emulators(LibvirtHost host, List<String> facts, List<Finding> findings)
      throws IOException {
    DomainXml capabilities = DomainXml.parse(host.capabilitiesXml());
    String emulator =
        capabilities.text("/capabilities/guest[os_type='hvm']/arch[@name='x86_64']/emulator");
    if (emulator.isEmpty()) {
      findings.add(
          new Refused("libvirt knows no QEMU for x86_64 on this host, install qemu-system-x86"));
      return;
    }
    facts.add("QEMU " + StandbyHostCheck.versionOf(Path.of(emulator)) + " at " + emulator);
    boolean kvm =
        !capabilities.all("/capabilities/guest/arch[@name='x86_64']/domain[@type='kvm']").isEmpty();
    facts.add(
        kvm
            ? "libvirt offers KVM (whether a guest runs was not tried)"
            : "libvirt offers no KVM: guests run under TCG, slowly");
  }

  private static void configuration(QemuConf conf, List<String> facts, List<Finding> findings)
      throws IOException {
    facts.add(
        "QEMU runs as "
            + (conf.user().isEmpty() ? "libvirt's built-in user" : conf.user())
            + " ("
            + conf.file()
            + ")");
    if (!conf.lockManager().isEmpty()) {
      findings.add(
          new Refused(
              "lock manager "
                  + conf.lockManager()
                  + " is set in "
                  + conf.file()
                  + ": a pause gives up its leases for good, so no domain of this host can be"
                  + " protected; set lock_manager = \"nop\""));
    }
    Path sysctl = Path.of("/proc/sys/vm/unprivileged_userfaultfd");
    String value = Files.exists(sysctl) ? Files.readString(sysctl).strip() : "missing";
    facts.add("vm.unprivileged_userfaultfd is " + value);
    if (value.equals("missing")) {
      findings.add(new Refused("this kernel has no userfaultfd, so it can hold no standby"));
    } else if (!conf.asRoot() && !value.equals("1")) {
      findings.add(
          new Warning(
              "this host can be no standby: QEMU does not run as root and"
                  + " vm.unprivileged_userfaultfd is "
                  + value
                  + "; run: sysctl vm.unprivileged_userfaultfd=1"));
    }
  }
}
