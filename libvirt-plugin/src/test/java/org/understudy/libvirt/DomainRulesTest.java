package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.understudy.libvirt.Finding.Refused;
import org.understudy.libvirt.Finding.Warning;

class DomainRulesTest {
  private static String domain(String top, String devices) {
    return "<domain type='kvm' id='3'><name>db</name><memory unit='KiB'>1048576</memory>"
        + "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>"
        + top
        + "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
        + "<disk type='file' device='cdrom'><target dev='sda'/></disk>"
        + "<disk type='file' device='disk'><source file='/srv/ro.raw'/><target dev='vda'/>"
        + "<readonly/></disk>"
        + "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
        + "</interface><serial type='pty'/><memballoon model='virtio'/>"
        + devices
        + "</devices></domain>";
  }

  private static List<Finding> judge(String top, String devices) throws Exception {
    return DomainRules.judge(DomainXml.parse(domain(top, devices)));
  }

  @Test
  void anOrdinaryDomainPasses() throws Exception {
    assertEquals(List.of(), judge("<memoryBacking><nosharepages/></memoryBacking>", ""));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "writable disk vdb (/srv/w.qcow2)|<disk type='file' device='disk'><source file='/srv/w.qcow2'/><target dev='vdb'/></disk>",
        "writable disk sdb (/dev/sg3)|<disk type='block' device='lun'><source dev='/dev/sg3'/><target dev='sdb'/></disk>",
        "writable disk fda (no medium)|<disk type='file' device='floppy'><target dev='fda'/></disk>",
        "transient disk vdb|<disk type='file' device='disk'><source file='/x'/><target dev='vdb'/><readonly/><transient/></disk>",
        "disk vdb on vhostuser|<disk type='vhostuser' device='disk'><source type='unix' path='/s'/><target dev='vdb'/></disk>",
        "disk vdb on vhostvdpa|<disk type='vhostvdpa' device='disk'><source dev='/dev/vhost-vdpa-0'/><target dev='vdb'/></disk>",
        "pci device of the host|<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x65' slot='0x00' function='0x0'/></source></hostdev>",
        "mdev device of the host|<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>",
        "usb device of the host|<hostdev mode='subsystem' type='usb'><source><vendor id='0x1234'/></source></hostdev>",
        "52:54:00:00:00:02 of type vhostuser|<interface type='vhostuser'><mac address='52:54:00:00:00:02'/></interface>",
        "52:54:00:00:00:02 of type vdpa|<interface type='vdpa'><mac address='52:54:00:00:00:02'/></interface>",
        "52:54:00:00:00:02 of type hostdev|<interface type='hostdev'><mac address='52:54:00:00:00:02'/></interface>",
        "macvtap|<interface type='direct'><mac address='52:54:00:00:00:02'/><source dev='eth0' mode='bridge'/></interface>",
        "shares folder /srv/share|<filesystem type='mount'><driver type='virtiofs'/><source dir='/srv/share'/><target dir='tag'/></filesystem>",
        "shares folder /srv/9p|<filesystem type='mount'><source dir='/srv/9p'/><target dir='tag'/></filesystem>",
        "ivshmem|<shmem name='shm0'><model type='ivshmem-plain'/></shmem>",
        "TPM (emulator)|<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>",
        "USB redirection|<redirdev bus='usb' type='spicevmc'/>",
        "smart card|<smartcard mode='host'/>",
        "input device of the host (/dev/input/event1)|<input type='evdev'><source dev='/dev/input/event1'/></input>",
        "3D graphics|<video><model type='virtio'><acceleration accel3d='yes'/></model></video>",
        "port /dev/ttyS0 of the host|<serial type='dev'><source path='/dev/ttyS0'/></serial>",
        "memory device (dimm)|<memory model='dimm'><target><size>1</size></target></memory>",
      })
  void aDeviceThatCannotBeFollowedIsRefusedByName(String words, String device) throws Exception {
    assertRefused(words, judge("", device));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "huge pages|<memoryBacking><hugepages/></memoryBacking>",
        "locked|<memoryBacking><locked/></memoryBacking>",
        "shares its memory|<memoryBacking><access mode='shared'/></memoryBacking>",
        "in a memfd|<memoryBacking><source type='memfd'/></memoryBacking>",
        "in a file|<memoryBacking><source type='file'/></memoryBacking>",
        "allocated at the start|<memoryBacking><allocation mode='immediate'/></memoryBacking>",
        "2 NUMA cells|<cpu><numa><cell id='0'/><cell id='1'/></numa></cpu>",
        "launchSecurity sev|<launchSecurity type='sev'/>",
      })
  void aMemoryThatCannotBeFollowedIsRefusedByName(String words, String top) throws Exception {
    assertRefused(words, judge(top, ""));
  }

  private static void assertRefused(String words, List<Finding> findings) {
    assertEquals(1, findings.size(), findings::toString);
    Refused refused = assertInstanceOf(Refused.class, findings.get(0));
    assertTrue(refused.sentence().contains(words), refused.sentence());
    assertTrue(refused.sentence().startsWith("domain db "), refused.sentence());
    assertTrue(!Finding.allows(findings));
  }

  @Test
  void anotherArchitectureOrHypervisorIsRefused() throws Exception {
    String xml = domain("", "").replace("x86_64' machine", "aarch64' machine");
    assertRefused("for aarch64", DomainRules.judge(DomainXml.parse(xml)));
    assertRefused(
        "of type xen",
        DomainRules.judge(DomainXml.parse(domain("", "").replace("'kvm'", "'xen'"))));
  }

  @Test
  void whatMattersOnlyAtAFailoverIsAWarning() throws Exception {
    List<Finding> findings =
        judge(
            "<cpu mode='host-passthrough'/>",
            "<interface type='user'><mac address='52:54:00:00:00:02'/></interface>");
    assertEquals(2, findings.size());
    assertTrue(findings.stream().allMatch(Warning.class::isInstance), findings::toString);
    assertTrue(Finding.allows(findings));
  }

  @Test
  void anotherHostsIncomingArgumentIsNoArgumentOfItsOwn() throws Exception {
    String promoted = StandbyDomain.xml(domain("", ""), null);
    assertEquals(List.of(), DomainRules.judge(DomainXml.parse(promoted)));
    String own = "<commandline xmlns='" + DomainXml.QEMU + "'><arg value='-d'/></commandline>";
    List<Finding> findings = judge(own, "");
    assertEquals(1, findings.size());
    assertInstanceOf(Warning.class, findings.get(0));
  }

  @Test
  void xmlWithADocumentTypeIsRefused() {
    String hostile = "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain>&x;</domain>";
    assertThrows(LibvirtFault.class, () -> DomainXml.parse(hostile));
  }
}
