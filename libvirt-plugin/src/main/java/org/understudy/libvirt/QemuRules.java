package org.understudy.libvirt;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.understudy.libvirt.Finding.Refused;
import org.understudy.libvirt.Finding.Warning;
import org.w3c.dom.Element;

/**
 * What in a running QEMU keeps its domain from being protected although libvirt's XML does not show
 * it: what was added with {@code qemu:commandline} or through the monitor, and elements that {@link
 * DomainRules} does not judge.
 */
final class QemuRules {
  private static final String UNSEEN = "another process writes the guest's memory unseen";

  /** A kind of device: a pattern for QOM's type, and why it cannot be protected. */
  private record Kind(Pattern type, String reason) {
    static Kind of(String type, String reason) {
      return new Kind(Pattern.compile(type), reason);
    }
  }

  private static final List<Kind> DEVICES =
      List.of(
          Kind.of("vfio-.*", "a device of the host, whose state cannot be copied"),
          Kind.of("vhost-vdpa-.*", "a vDPA device: the hardware writes the guest's memory unseen"),
          Kind.of("vhost-user-fs-.*", "virtiofs: " + UNSEEN),
          Kind.of("vhost-user-.*|virtio-.*-vhost-user", "vhost-user: " + UNSEEN),
          Kind.of("vhost-(scsi|vsock)-.*", "the host's kernel holds its state"),
          Kind.of("ivshmem.*", "shared memory (ivshmem): " + UNSEEN),
          Kind.of("pvrdma", "RDMA: the hardware writes the guest's memory unseen"),
          Kind.of("virtio-9p-.*", "a folder of the host, which does not move with the guest"),
          Kind.of("usb-redir", "USB redirection: its devices belong to a client"),
          Kind.of("usb-host|scsi-block|scsi-generic|u2f-passthru", "a device of the host"),
          Kind.of("ccid-card-.*", "a smart card of the host"),
          Kind.of(
              "virtio-(gpu|vga)-(gl|rutabaga).*",
              "3D graphics: the host's graphics card holds its state"),
          Kind.of("tpm-.*", "a TPM, whose state lies outside of QEMU"),
          Kind.of(
              "pc-dimm|nvdimm|virtio-mem-.*|virtio-pmem-.*|sgx-epc|cxl-.*",
              "a memory device, which cannot be followed yet"));

  private static final List<Kind> OBJECTS =
      List.of(
          Kind.of(
              "memory-backend-file",
              "its pages lie in a file, of which freed ones are not reported"),
          Kind.of(
              "memory-backend-(memfd|shm)",
              "its pages lie in a memfd, of which freed ones are not reported"),
          Kind.of("memory-backend-epc", "SGX memory is encrypted, so nobody can copy it"),
          Kind.of(
              "(sev|sev-snp|tdx)-guest", "the guest's memory is encrypted, so nobody can copy it"),
          Kind.of("input-linux", "an input device of the host"),
          Kind.of("cryptodev-vhost-user", "vhost-user: " + UNSEEN));

  /** Elements whose devices {@link DomainRules} judges. */
  private static final String JUDGED =
      "/domain/devices/*[self::disk or self::interface or self::hostdev or self::filesystem"
          + " or self::shmem or self::tpm or self::redirdev or self::smartcard or self::memory"
          + " or self::input or self::video]/alias";

  private static final Pattern BACKEND = Pattern.compile("(\\S+): index=\\d+,type=(vhost-\\w+)");

  private final QemuFacts facts;
  private final String name;
  private final Set<String> judged = new HashSet<>();
  private final boolean memoryJudged;
  private final List<Finding> findings = new ArrayList<>();

  private QemuRules(DomainXml xml, QemuFacts facts) {
    this.facts = facts;
    name = xml.name();
    for (Element alias : xml.all(JUDGED)) {
      judged.add(alias.getAttribute("name"));
    }
    memoryJudged =
        !xml.all(
                "/domain/memoryBacking/*[not(self::nosharepages or self::discard)]"
                    + " | /domain/cpu/numa/cell | /domain/devices/memory")
            .isEmpty();
  }

  /** Judges a running QEMU; what the XML shows and {@link DomainRules} judges is not repeated. */
  static List<Finding> judge(DomainXml xml, QemuFacts facts) {
    QemuRules rules = new QemuRules(xml, facts);
    rules.devices();
    rules.objects();
    rules.memory();
    rules.drives();
    rules.network();
    return List.copyOf(rules.findings);
  }

  private void devices() {
    for (QemuFacts.Part device : facts.devices()) {
      for (Kind kind : DEVICES) {
        if (kind.type().matcher(device.type()).matches()) {
          if (!judged.contains(device.id())) {
            refuse("device", device, kind.reason());
          }
          break;
        }
      }
    }
  }

  private void objects() {
    for (QemuFacts.Part object : facts.objects()) {
      for (Kind kind : OBJECTS) {
        if (kind.type().matcher(object.type()).matches() && !isJudged(object)) {
          refuse("object", object, kind.reason());
        }
      }
    }
  }

  private boolean isJudged(QemuFacts.Part object) {
    return judged.contains(object.id())
        || (memoryJudged && object.type().startsWith("memory-backend-"))
        // libvirt's names for the memory of a shmem, and for an encrypted guest
        || judged.contains(object.id().replaceFirst("^shmmem-", ""))
        || object.id().equals("lsec0");
  }

  private void memory() {
    if (memoryJudged || !findings.isEmpty()) {
      return; // refused already, and this may be what goes with it
    }
    for (JsonNode memory : facts.memories()) {
      String id = memory.path("id").asText("without a name");
      String type =
          facts.objects().stream()
              .filter(object -> object.id().equals(id))
              .map(QemuFacts.Part::type)
              .findFirst()
              .orElse("");
      if (!type.equals("memory-backend-ram")) {
        continue; // what an element of the XML brings with it
      }
      if (memory.path("share").asBoolean()) {
        refuse(
            "shares its memory %s with other processes, which may write it unseen; remove share=on",
            id);
      } else if (memory.path("prealloc").asBoolean()) {
        refuse(
            "has all its memory %s allocated at the start, so the standby would need all of it;"
                + " remove prealloc",
            id);
      }
    }
    if (facts.numaNodes() > 1) {
      refuse(
          "has %d NUMA nodes, which cannot be followed yet; give it plain memory",
          facts.numaNodes());
    }
    if (facts.lockedKib() > 0 && findings.isEmpty()) {
      refuse(
          "has %d MiB of its memory locked, so pages cannot be left out of the standby; remove"
              + " mem-lock",
          facts.lockedKib() >> 10);
    }
  }

  /** Writable drives, but for flash chips, whose content is memory. */
  private void drives() {
    for (JsonNode drive : facts.drives()) {
      String device = drive.path("qdev").asText();
      boolean writable = drive.has("inserted") && !drive.path("inserted").path("ro").asBoolean();
      if (!writable || device.contains("flash")) {
        continue;
      }
      String id = device.replaceFirst("^/machine/peripheral/([^/]*).*", "$1");
      if (!judged.contains(id)) {
        refuse(
            "has a writable disk %s (%s) that libvirt does not show, and disks are not replicated"
                + " yet; make it read-only or detach it",
            drive.path("device").asText().isEmpty() ? id : drive.path("device").asText(),
            drive.path("inserted").path("file").asText());
      }
    }
  }

  private void network() {
    Matcher backend = BACKEND.matcher(facts.network());
    while (backend.find()) {
      if (!judged.contains(backend.group(1).replaceFirst("^host", ""))) {
        refuse(
            "has network back end %s of type %s: %s; use a bridge or a network",
            backend.group(1), backend.group(2), UNSEEN);
      }
    }
    if (facts.devicesOpen().contains("/dev/vhost-net")) {
      findings.add(
          new Warning(
              "domain "
                  + name
                  + " has its network served by the host's kernel (vhost-net): it can be protected,"
                  + " but what it sends cannot be held back until an epoch is committed"));
    }
  }

  private void refuse(String what, QemuFacts.Part part, String reason) {
    refuse(
        "has %s %s%s that libvirt does not show: %s; detach it or remove it from qemu:commandline",
        what, part.type(), part.id().isEmpty() ? "" : " (" + part.id() + ")", reason);
  }

  @SuppressWarnings(
      "AnnotateFormatMethod") // an annotation of another library, only for the compiler
  private void refuse(String format, Object... values) {
    findings.add(new Refused("domain " + name + " " + String.format(format, values)));
  }
}
