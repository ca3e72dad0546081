package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.understudy.libvirt.DomainState.Run;
import org.understudy.libvirt.Finding.Refused;
import org.understudy.testbed.TwoHosts;
import org.understudy.testbed.TwoHosts.Host;

/**
 * Real domains under a real libvirtd, each with one thing in it that cannot be protected: known to
 * libvirt, given to QEMU on its command line, or plugged in through the monitor. Each is refused in
 * one sentence and runs on.
 */
@Tag("qemu")
class RefusedDomainTest {
  private static final String SHARED =
      "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>";
  private static LibvirtBed bed;

  @BeforeAll
  static void up() throws IOException {
    assumeTrue(TwoHosts.unavailable().isEmpty(), () -> TwoHosts.unavailable().orElseThrow());
    bed = new LibvirtBed();
    Path lib = bed.hosts.outside(Host.A, "lib");
    for (String disk : List.of("w.raw", "w2.raw", "ram")) {
      Files.write(lib.resolve(disk), new byte[1 << 20]);
    }
    Files.createDirectories(lib.resolve("share"));
  }

  @AfterAll
  static void down() throws IOException {
    if (bed != null) {
      bed.close();
    }
  }

  /**
   * A domain to be refused.
   *
   * @param words what the refusal says
   * @param top XML beside devices
   * @param devices XML of devices
   * @param arguments for QEMU, behind libvirt's
   * @param commands for its monitor, once it runs
   * @param needs a program without which the case is skipped, or an empty string
   */
  record Case(
      String words,
      String top,
      String devices,
      List<String> arguments,
      List<String> commands,
      String needs) {

    static Case xml(String words, String top, String devices) {
      return new Case(words, top, devices, List.of(), List.of(), "");
    }

    static Case arguments(String words, String... arguments) {
      return new Case(words, "", "", List.of(arguments), List.of(), "");
    }

    static Case plugged(String words, String... commands) {
      return new Case(words, "", "", List.of(), List.of(commands), "");
    }

    Case needing(String program) {
      return new Case(words, top, devices, arguments, commands, program);
    }

    @Override
    public String toString() {
      return words + (arguments.isEmpty() ? commands.isEmpty() ? "" : ", plugged" : ", arguments");
    }

    String xml() {
      String line =
          arguments.stream()
              .map(argument -> "<qemu:arg value='" + argument + "'/>")
              .collect(Collectors.joining("", "<qemu:commandline>", "</qemu:commandline>"));
      return "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
          + "<name>refused</name><memory unit='MiB'>32</memory><vcpu>2</vcpu>"
          + "<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><features><acpi/></features>"
          + top
          + "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
          + "<controller type='pci' model='pcie-root'/>"
          + "<controller type='pci' index='1' model='pcie-root-port'/>"
          + "<controller type='pci' index='2' model='pcie-root-port'/>"
          + "<controller type='pci' index='3' model='pcie-root-port'/>"
          + "<controller type='pci' index='4' model='pcie-root-port'/>"
          + "<controller type='usb' model='qemu-xhci'/>"
          + devices
          + "</devices>"
          + (arguments.isEmpty() ? "" : line)
          + "</domain>";
    }
  }

  static Stream<Case> cases() {
    return Stream.of(
        // known to libvirt
        Case.xml("in a memfd", "<memoryBacking><source type='memfd'/></memoryBacking>", ""),
        Case.xml("in a file", "<memoryBacking><source type='file'/></memoryBacking>", ""),
        Case.xml("shares its memory", "<memoryBacking><access mode='shared'/></memoryBacking>", ""),
        Case.xml(
            "allocated at the start",
            "<memoryBacking><allocation mode='immediate'/></memoryBacking>",
            ""),
        Case.xml(
            "2 NUMA cells",
            "<cpu><numa><cell id='0' cpus='0' memory='16' unit='MiB'/>"
                + "<cell id='1' cpus='1' memory='16' unit='MiB'/></numa></cpu>",
            ""),
        Case.xml(
            "shared memory s (ivshmem)",
            "",
            "<shmem name='s'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>"),
        Case.xml(
            "shares folder /var/lib/libvirt/share",
            "",
            "<filesystem type='mount'><source dir='/var/lib/libvirt/share'/><target dir='t'/></filesystem>"),
        Case.xml(
                "shares folder /var/lib/libvirt/share",
                SHARED,
                "<filesystem type='mount'><driver type='virtiofs'/>"
                    + "<source dir='/var/lib/libvirt/share'/><target dir='t'/></filesystem>")
            .needing("/usr/lib/qemu/virtiofsd"),
        Case.xml(
                "a TPM (emulator)",
                "",
                "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>")
            .needing("/usr/bin/swtpm_setup"),
        Case.xml(
            "USB redirection",
            "",
            "<redirdev bus='usb' type='tcp'><source mode='bind' host='127.0.0.1' service='0'/>"
                + "<protocol type='raw'/></redirdev>"),
        Case.xml(
            "writable disk vda (/var/lib/libvirt/w.raw)",
            "",
            "<disk type='file' device='disk'><source file='/var/lib/libvirt/w.raw'/>"
                + "<target dev='vda' bus='virtio'/></disk>"),
        // given to QEMU behind libvirt's back
        Case.arguments("MiB of its memory locked", "-overcommit", "mem-lock=on"),
        // plugged in through the monitor
        Case.plugged(
            "device ivshmem-plain (iv) that",
            "{'execute':'object-add','arguments':{'qom-type':'memory-backend-ram','id':'m0','size':1048576,'share':true}}",
            "{'execute':'device_add','arguments':{'driver':'ivshmem-plain','id':'iv','memdev':'m0','bus':'pci.1'}}"),
        Case.plugged(
            "writable disk",
            "{'execute':'blockdev-add','arguments':{'driver':'file','node-name':'w','filename':'/var/lib/libvirt/w2.raw'}}",
            "{'execute':'device_add','arguments':{'driver':'virtio-blk-pci','id':'d','drive':'w','bus':'pci.1'}}"),
        Case.plugged(
            "device usb-redir (r) that",
            "{'execute':'chardev-add','arguments':{'id':'c','backend':{'type':'null','data':{}}}}",
            "{'execute':'device_add','arguments':{'driver':'usb-redir','id':'r','chardev':'c'}}"),
        Case.plugged(
            "object memory-backend-file (f) that",
            "{'execute':'object-add','arguments':{'qom-type':'memory-backend-file','id':'f','size':1048576,'mem-path':'/var/lib/libvirt/ram'}}"));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void isRefusedInOneSentenceAndRunsOn(Case refused) throws Exception {
    assumeTrue(
        refused.needs().isEmpty() || Files.isExecutable(Path.of(refused.needs())),
        () -> refused.needs() + " is not installed");
    Path file = Files.writeString(bed.hosts.outside(Host.A, "refused.xml"), refused.xml());
    bed.hosts.virsh(Host.A, "create", file.toString());
    LibvirtDomain domain = bed.a.domain("refused");
    try {
      for (String command : refused.commands()) {
        domain.qmp(command.replace('\'', '"'));
      }
      List<String> sentences = refusals(domain);
      sentences.forEach(System.out::println);
      assertEquals(1, sentences.stream().filter(each -> each.contains(refused.words())).count());
      assertTrue(sentences.stream().allMatch(each -> each.contains("domain refused ")));
      // Nothing is said twice; QEMU may have a blocker of its own, which is another sentence.
      assertEquals(
          refused.top().equals(SHARED) ? 3 : 1,
          sentences.stream().filter(each -> !each.contains("as it says")).count(),
          sentences::toString);
      assertEquals(Run.RUNNING, domain.state().run());
    } finally {
      domain.destroy();
    }
  }

  private static List<String> refusals(LibvirtDomain domain) throws IOException {
    List<String> found = new ArrayList<>();
    for (Finding finding : Preflight.check(domain, bed.conf(Host.A))) {
      if (finding instanceof Refused) {
        found.add(finding.sentence());
      }
    }
    return found;
  }

  @Test
  void aPlainDomainIsNotRefusedAndAnInactiveOneIsJudgedByItsXml() throws Exception {
    Case plain = Case.xml("", "", "<video><model type='vga'/></video>");
    Path file = Files.writeString(bed.hosts.outside(Host.A, "plain.xml"), plain.xml());
    bed.hosts.virsh(Host.A, "create", file.toString());
    LibvirtDomain domain = bed.a.domain("refused");
    assertEquals(List.of(), refusals(domain));
    domain.destroy();
    String hostdev =
        "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source>"
            + "<address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>";
    Files.writeString(file, Case.xml("", "", hostdev).xml());
    bed.hosts.virsh(Host.A, "define", file.toString());
    List<String> sentences = refusals(bed.a.domain("refused"));
    assertEquals(2, sentences.size(), sentences::toString);
    assertTrue(sentences.get(0).contains("shut off"), sentences::toString);
    assertTrue(sentences.get(1).contains("mdev device of the host"), sentences::toString);
    bed.hosts.virsh(Host.A, "undefine", "refused");
  }
}
