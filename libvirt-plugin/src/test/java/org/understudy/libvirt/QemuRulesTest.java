package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.understudy.libvirt.Finding.Refused;
import org.understudy.libvirt.Finding.Warning;
import org.understudy.libvirt.QemuFacts.Part;

/**
 * What QEMU shows and libvirt's XML does not, by QOM's names, also of what cannot run everywhere.
 */
class QemuRulesTest {
  private static final Part RAM = new Part("pc.ram", "memory-backend-ram");
  private static final String MEMORY = "[{'id':'pc.ram','share':false,'prealloc':false}]";

  private static JsonNode json(String text) throws Exception {
    return new ObjectMapper().readTree(text.replace('\'', '"'));
  }

  private static DomainXml xml(String devices) throws Exception {
    return DomainXml.parse(
        "<domain type='kvm'><name>db</name><devices>" + devices + "</devices></domain>");
  }

  private static QemuFacts facts(List<Part> devices, List<Part> objects) throws Exception {
    return facts(devices, objects, MEMORY, "[]", "", 0, 0, Set.of());
  }

  private static QemuFacts facts(
      List<Part> devices,
      List<Part> objects,
      String memories,
      String drives,
      String network,
      int numaNodes,
      long lockedKib,
      Set<String> open)
      throws Exception {
    return new QemuFacts(
        devices, objects, json(memories), json(drives), network, numaNodes, lockedKib, open);
  }

  private static void assertRefused(String words, List<Finding> findings) {
    assertEquals(1, findings.size(), findings::toString);
    Refused refused = assertInstanceOf(Refused.class, findings.get(0));
    assertTrue(refused.sentence().startsWith("domain db "), refused.sentence());
    assertTrue(refused.sentence().contains(words), refused.sentence());
  }

  @Test
  void anOrdinaryQemuPasses() throws Exception {
    List<Part> devices =
        List.of(
            new Part("net0", "virtio-net-pci"),
            new Part("virtio-disk0", "virtio-blk-pci"),
            new Part("video0", "virtio-vga"),
            new Part("balloon0", "virtio-balloon-pci"),
            new Part("", "isa-serial"));
    assertEquals(
        List.of(),
        QemuRules.judge(
            xml(""),
            facts(
                devices,
                List.of(RAM, new Part("masterKey0", "secret"), new Part("io1", "iothread")),
                MEMORY,
                "[{'device':'','qdev':'/machine/peripheral/virtio-disk0/virtio-backend',"
                    + "'inserted':{'ro':true}},{'device':'','qdev':'/machine/system.flash1',"
                    + "'inserted':{'ro':false}},{'device':'cd','qdev':'sata0-0-0'}]",
                "net0: index=0,type=nic,model=virtio-net-pci\n \\ hostnet0: index=0,type=tap,fd=32",
                1,
                0,
                Set.of("/dev/net/tun"))));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "vfio-pci|a device of the host",
        "vfio-pci-nohotplug|a device of the host",
        "vhost-vdpa-device-pci|vDPA",
        "vhost-user-fs-pci|virtiofs",
        "vhost-user-blk-pci|vhost-user",
        "vhost-user-gpu-pci|vhost-user",
        "vhost-user-scsi-pci|vhost-user",
        "vhost-scsi-pci|kernel holds its state",
        "vhost-vsock-pci|kernel holds its state",
        "ivshmem-plain|ivshmem",
        "ivshmem-doorbell|ivshmem",
        "pvrdma|RDMA",
        "virtio-9p-pci|folder of the host",
        "usb-redir|USB redirection",
        "usb-host|a device of the host",
        "scsi-block|a device of the host",
        "ccid-card-passthru|smart card",
        "virtio-gpu-gl-pci|3D graphics",
        "virtio-vga-gl|3D graphics",
        "tpm-crb|TPM",
        "tpm-tis|TPM",
        "pc-dimm|memory device",
        "nvdimm|memory device",
        "virtio-mem-pci|memory device",
        "virtio-pmem-pci|memory device",
      })
  void aDeviceThatLibvirtDoesNotShowIsRefusedByName(String type, String words) throws Exception {
    List<Finding> findings =
        QemuRules.judge(xml(""), facts(List.of(new Part("x", type)), List.of(RAM)));
    assertRefused(words, findings);
    assertRefused("device " + type + " (x) that libvirt does not show", findings);
    // One that libvirt shows has been judged by its element.
    assertEquals(
        List.of(),
        QemuRules.judge(
            xml("<hostdev><alias name='x'/></hostdev>"),
            facts(List.of(new Part("x", type)), List.of(RAM))));
    // Elements that nobody judges do not hide it.
    assertRefused(
        words,
        QemuRules.judge(
            xml("<vsock><alias name='x'/></vsock>"),
            facts(List.of(new Part("x", type)), List.of(RAM))));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "memory-backend-file|in a file",
        "memory-backend-memfd|in a memfd",
        "memory-backend-epc|SGX",
        "sev-guest|encrypted",
        "sev-snp-guest|encrypted",
        "tdx-guest|encrypted",
        "input-linux|input device",
        "cryptodev-vhost-user|vhost-user",
      })
  void anObjectThatLibvirtDoesNotShowIsRefusedByName(String type, String words) throws Exception {
    assertRefused(
        words, QemuRules.judge(xml(""), facts(List.of(), List.of(RAM, new Part("x", type)))));
  }

  @Test
  void memoryThatCannotBeFollowedIsRefused() throws Exception {
    List<Part> ram = List.of(RAM);
    assertRefused(
        "shares its memory pc.ram",
        QemuRules.judge(
            xml(""),
            facts(
                List.of(),
                ram,
                MEMORY.replace("'share':false", "'share':true"),
                "[]",
                "",
                0,
                0,
                Set.of())));
    assertRefused(
        "allocated at the start",
        QemuRules.judge(
            xml(""),
            facts(
                List.of(),
                ram,
                MEMORY.replace("'prealloc':false", "'prealloc':true"),
                "[]",
                "",
                0,
                0,
                Set.of())));
    assertRefused(
        "2 NUMA nodes",
        QemuRules.judge(xml(""), facts(List.of(), ram, MEMORY, "[]", "", 2, 0, Set.of())));
    assertRefused(
        "64 MiB of its memory locked",
        QemuRules.judge(xml(""), facts(List.of(), ram, MEMORY, "[]", "", 0, 65536, Set.of())));
  }

  @Test
  void drivesAndBackEndsThatLibvirtDoesNotShowAreRefused() throws Exception {
    String drive =
        "[{'device':'w0','qdev':'/machine/peripheral-anon/device[0]/virtio-backend',"
            + "'inserted':{'ro':false,'file':'/srv/w.raw'}}]";
    assertRefused(
        "writable disk w0 (/srv/w.raw)",
        QemuRules.judge(
            xml(""), facts(List.of(), List.of(RAM), MEMORY, drive, "", 0, 0, Set.of())));
    String vhostUser = "n: index=0,type=nic\n \\ u0: index=0,type=vhost-user,vhostforce";
    assertRefused(
        "network back end u0 of type vhost-user",
        QemuRules.judge(
            xml(""), facts(List.of(), List.of(RAM), MEMORY, "[]", vhostUser, 0, 0, Set.of())));
  }

  @Test
  void vhostNetIsAWarning() throws Exception {
    List<Finding> findings =
        QemuRules.judge(
            xml(""),
            facts(List.of(), List.of(RAM), MEMORY, "[]", "", 0, 0, Set.of("/dev/vhost-net")));
    assertEquals(1, findings.size());
    assertTrue(assertInstanceOf(Warning.class, findings.get(0)).sentence().contains("vhost-net"));
  }
}
