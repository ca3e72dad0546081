package org.understudy.libvirt;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.List;
import java.util.UUID;
import org.understudy.qmp.QmpCommand;

/**
 * What the standby host has to know of a domain that shall be protected. Strings only, so that it
 * can be sent.
 *
 * @param uuid of the domain
 * @param name of the domain
 * @param qemuVersion of the QEMU that runs, package included, such as {@code 7.2.22 (Debian …)}
 * @param emulator path of QEMU, such as {@code /usr/bin/qemu-system-x86_64}
 * @param arch such as {@code x86_64}
 * @param machine versioned machine type, such as {@code pc-q35-7.2}
 * @param type {@code kvm} or {@code qemu}
 * @param memoryBytes guest memory, at most
 * @param hostCpuXml the {@code <cpu>} of the primary's host, or an empty string; for CPU modes that
 *     pass it on
 * @param migratableXml live XML as for a migration
 * @param persistentXml what it is at its next start, or null for a transient domain
 * @param devices what QEMU has, as {@link LibvirtDomain#devices} says it
 */
public record PrimaryDomain(
    UUID uuid,
    String name,
    String qemuVersion,
    String emulator,
    String arch,
    String machine,
    String type,
    long memoryBytes,
    String hostCpuXml,
    String migratableXml,
    String persistentXml,
    List<String> devices) {

  /** Asks a running domain. */
  public static PrimaryDomain of(LibvirtDomain domain) throws IOException {
    String live = domain.migratableXml();
    DomainXml xml = DomainXml.parse(live);
    DomainXml capabilities = DomainXml.parse(domain.host().capabilitiesXml());
    return new PrimaryDomain(
        domain.uuid(),
        domain.name(),
        qemuVersion(domain),
        xml.text("/domain/devices/emulator"),
        xml.text("/domain/os/type/@arch"),
        xml.text("/domain/os/type/@machine"),
        xml.text("/domain/@type"),
        Long.parseLong(xml.text("/domain/memory")) * 1024, // libvirt writes KiB
        capabilities.all("/capabilities/host/cpu").stream()
            .map(DomainXml::text)
            .findFirst()
            .orElse(""),
        live,
        domain.persistentXml(),
        domain.devices());
  }

  /** Whether a QEMU that was started for {@code other} is one for this, too. */
  public boolean sameMachine(PrimaryDomain other) throws LibvirtFault {
    return qemuVersion.equals(other.qemuVersion)
        && devices.equals(other.devices)
        && LiveConfiguration.sameMachine(migratableXml, other.migratableXml);
  }

  /** Whether libvirt ends it when the guest panics. */
  public boolean endsWhenPanicked() {
    try {
      String wanted = DomainXml.parse(migratableXml).text("/domain/on_crash");
      return wanted.isEmpty() || wanted.endsWith("destroy"); // also coredump-destroy
    } catch (LibvirtFault e) {
      return false; // libvirt wrote it, so this does not happen; a failover is the safer end
    }
  }

  /** The version of a domain's running QEMU, as its {@code -version} would print it. */
  static String qemuVersion(LibvirtDomain domain) throws IOException {
    JsonNode version = domain.qmp(QmpCommand.of("query-version"));
    JsonNode number = version.path("qemu");
    String packaged = version.path("package").asText();
    return number.path("major").asInt()
        + "."
        + number.path("minor").asInt()
        + "."
        + number.path("micro").asInt()
        + (packaged.isEmpty() ? "" : " (" + packaged + ")");
  }

  /** Paths of this host that the domain reads at its start: kernel, firmware, read-only disks. */
  List<String> files() throws LibvirtFault {
    DomainXml xml = DomainXml.parse(migratableXml);
    return xml
        .all(
            "/domain/os/kernel | /domain/os/initrd | /domain/os/dtb | /domain/os/loader"
                + " | /domain/devices/disk/source")
        .stream()
        .map(
            element ->
                element.getTagName().equals("source")
                    ? element.getAttribute("file") + element.getAttribute("dev")
                    : element.getTextContent().strip())
        .filter(path -> path.startsWith("/"))
        .distinct()
        .toList();
  }
}
