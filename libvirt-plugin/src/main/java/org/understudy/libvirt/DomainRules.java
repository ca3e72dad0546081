package org.understudy.libvirt;

import static org.understudy.libvirt.DomainXml.text;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.understudy.libvirt.Finding.Refused;
import org.understudy.libvirt.Finding.Warning;
import org.w3c.dom.Element;

/**
 * What in a domain's live XML keeps it from being protected: memory that somebody beside QEMU
 * writes or that is pinned or shared, disks that would differ after a failover, devices of the
 * host.
 */
final class DomainRules {
  private static final String SHARED =
      "its pages are written by another process than QEMU and cannot be followed";
  private static final Set<String> OUTSIDE_INTERFACES =
      Set.of("vhostuser", "vdpa", "hostdev", "direct");

  private final DomainXml xml;
  private final String name;
  private final List<Finding> findings = new ArrayList<>();

  private DomainRules(DomainXml xml) {
    this.xml = xml;
    name = xml.name();
  }

  /** Judges a domain by its live XML alone. */
  static List<Finding> judge(DomainXml xml) {
    DomainRules rules = new DomainRules(xml);
    rules.machine();
    rules.memory();
    rules.disks();
    rules.interfaces();
    rules.devices();
    return List.copyOf(rules.findings);
  }

  private void machine() {
    String type = xml.text("/domain/@type");
    if (!type.equals("kvm") && !type.equals("qemu")) {
      refuse("is of type %s; only kvm and qemu can be protected", type);
    }
    String arch = xml.text("/domain/os/type/@arch");
    if (!arch.equals("x86_64")) {
      refuse("is a guest for %s; only x86_64 can be protected", arch);
    }
    if (!xml.all("/domain/launchSecurity").isEmpty()) {
      refuse(
          "has its memory encrypted (launchSecurity %s), so nobody can copy it; remove launchSecurity",
          xml.text("/domain/launchSecurity/@type"));
    }
    if (xml.text("/domain/cpu/@mode").equals("host-passthrough")) {
      warn(
          "has CPU mode host-passthrough: the standby host must have the same CPU model and"
              + " microcode; host-model or a named model is safer");
    }
    if (StandbyDomain.hasOwnArguments(xml)) {
      warn("has QEMU arguments of its own in qemu:commandline; the standby gets them as they are");
    }
  }

  private void memory() {
    if (!xml.all("/domain/memoryBacking/hugepages").isEmpty()) {
      refuse("has its memory in huge pages; remove memoryBacking/hugepages");
    }
    if (!xml.all("/domain/memoryBacking/locked").isEmpty()) {
      refuse(
          "has its memory locked, so pages cannot be left out of the standby; remove"
              + " memoryBacking/locked");
    }
    if (xml.text("/domain/memoryBacking/access/@mode").equals("shared")) {
      refuse(
          "shares its memory with other processes, which may write it unseen; remove"
              + " memoryBacking/access");
    }
    String source = xml.text("/domain/memoryBacking/source/@type");
    if (!source.isEmpty() && !source.equals("anonymous")) {
      refuse(
          "has its memory in a %s, of which freed pages are not reported; remove"
              + " memoryBacking/source",
          source);
    }
    if (xml.text("/domain/memoryBacking/allocation/@mode").equals("immediate")) {
      refuse(
          "has all its memory allocated at the start, so the standby would need all of it; remove"
              + " memoryBacking/allocation");
    }
    if (!xml.all("/domain/cpu/numa/cell").isEmpty()) {
      refuse(
          "has %d NUMA cells (cpu/numa), which cannot be followed yet; give it plain memory",
          xml.all("/domain/cpu/numa/cell").size());
    }
    for (Element device : xml.all("/domain/devices/memory")) {
      refuse(
          "has a memory device (%s), which cannot be followed yet; detach it",
          device.getAttribute("model"));
    }
  }

  private void disks() {
    for (Element disk : xml.all("/domain/devices/disk")) {
      String target = text(disk, "target/@dev");
      String where = diskSource(disk);
      if (disk.getAttribute("type").equals("vhostuser")
          || disk.getAttribute("type").equals("vhostvdpa")) {
        refuse("has disk %s on %s: %s; detach it", target, disk.getAttribute("type"), SHARED);
      } else if (!DomainXml.all(disk, "transient").isEmpty()) {
        refuse(
            "has a transient disk %s (%s), whose changes the standby would lose; detach it",
            target, where);
      } else if (DomainXml.all(disk, "readonly").isEmpty()
          && !disk.getAttribute("device").equals("cdrom")) {
        refuse(
            "has a writable disk %s (%s), and disks are not replicated yet; make it read-only or"
                + " detach it",
            target, where);
      }
    }
  }

  private static String diskSource(Element disk) {
    String where =
        text(disk, "concat(source/@file, source/@dev, source/@name, source/@dir, source/@volume)");
    return where.isEmpty() ? "no medium" : where;
  }

  private void interfaces() {
    for (Element nic : xml.all("/domain/devices/interface")) {
      String type = nic.getAttribute("type");
      String mac = text(nic, "mac/@address");
      if (OUTSIDE_INTERFACES.contains(type)) {
        refuse(
            "has interface %s of type %s; %s; plug it into a bridge or a network",
            mac,
            type,
            type.equals("direct") ? "a macvtap device is bound to this host's hardware" : SHARED);
      } else if (type.equals("user")) {
        warn(
            "has interface %s of type user: its connections and address translation do not move"
                + " with the guest",
            mac);
      }
      // A network may stand for a macvtap or a device of the host.
      String actual = text(nic, "source/@mode");
      if (!OUTSIDE_INTERFACES.contains(type) && !actual.isEmpty()) {
        refuse(
            "has interface %s bound to a device of the host (mode %s); plug it into a bridge",
            mac, actual);
      }
    }
  }

  private void devices() {
    for (Element device : xml.all("/domain/devices/hostdev")) {
      refuse(
          "has a %s device of the host (hostdev %s), whose state cannot be copied; detach it",
          device.getAttribute("type"), hostDevice(device));
    }
    for (Element share : xml.all("/domain/devices/filesystem")) {
      refuse(
          "shares folder %s with the host (filesystem %s); detach it",
          text(share, "source/@dir"), text(share, "target/@dir"));
    }
    for (Element memory : xml.all("/domain/devices/shmem")) {
      refuse("has shared memory %s (ivshmem): %s; detach it", memory.getAttribute("name"), SHARED);
    }
    for (Element tpm : xml.all("/domain/devices/tpm")) {
      refuse(
          "has a TPM (%s), whose state lies outside of QEMU; remove it",
          text(tpm, "backend/@type"));
    }
    for (Element usb : xml.all("/domain/devices/redirdev")) {
      refuse(
          "has USB redirection (redirdev, bus %s), whose devices belong to a client; remove it",
          usb.getAttribute("bus"));
    }
    for (Element card : xml.all("/domain/devices/smartcard")) {
      refuse("has a smart card of the host (mode %s); remove it", card.getAttribute("mode"));
    }
    for (Element input : xml.all("/domain/devices/input[@type='passthrough' or @type='evdev']")) {
      refuse(
          "has an input device of the host (%s); remove it",
          text(input, "concat(source/@evdev, source/@dev)"));
    }
    for (Element video : xml.all("/domain/devices/video/model[acceleration/@accel3d='yes']")) {
      refuse(
          "has 3D graphics (video %s), whose state lies in the host's graphics card; remove"
              + " acceleration",
          video.getAttribute("type"));
    }
    for (Element port : xml.all("/domain/devices/*[self::serial or self::parallel][@type='dev']")) {
      refuse(
          "has port %s of the host as a device (%s); remove it",
          text(port, "source/@path"), port.getTagName());
    }
  }

  private static String hostDevice(Element device) {
    String pci =
        text(
            device,
            "concat(source/address/@domain, ' ', source/address/@bus, ' ',"
                + " source/address/@slot, ' ', source/address/@uuid)");
    return pci.isEmpty() ? device.getAttribute("mode") : pci.replaceAll("\\s+", " ");
  }

  @SuppressWarnings(
      "AnnotateFormatMethod") // an annotation of another library, only for the compiler
  private void refuse(String format, Object... values) {
    findings.add(new Refused("domain " + name + " " + String.format(format, values)));
  }

  @SuppressWarnings("AnnotateFormatMethod")
  private void warn(String format, Object... values) {
    findings.add(new Warning("domain " + name + " " + String.format(format, values)));
  }
}
