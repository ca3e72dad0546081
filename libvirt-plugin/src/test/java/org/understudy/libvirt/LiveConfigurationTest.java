package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class LiveConfigurationTest {
  private static final String DISC = "<source file='/srv/a.iso'/>";

  private static String domain(String memory, String top, String medium) {
    return "<domain type='kvm'>\n  <name>db</name>\n  <memory unit='KiB'>1048576</memory>\n"
        + "  <currentMemory unit='KiB'>"
        + memory
        + "</currentMemory>\n"
        + top
        + "  <devices>\n    <disk type='file' device='cdrom'>"
        + medium
        + "<target dev='sda'/></disk>\n  </devices>\n</domain>";
  }

  @Test
  void balloonAndWordsAboutTheDomainMakeNoOtherQemu() throws Exception {
    assertTrue(
        LiveConfiguration.sameMachine(
            domain("1048576", "", DISC),
            domain("524288", "  <metadata><a/></metadata>\n  <title>t</title>\n", DISC)));
    assertTrue(
        LiveConfiguration.sameMachine(
            domain("1", "<on_crash>destroy</on_crash>", DISC),
            domain("1", "<on_crash>restart</on_crash>", DISC)));
  }

  @Test
  void mediumAndDevicesDo() throws Exception {
    String before = domain("1", "", DISC);
    String after = domain("1", "", "<source file='/srv/b.iso'/>");
    assertFalse(LiveConfiguration.sameMachine(before, after));
    String said = LiveConfiguration.firstDifference(before, after);
    assertTrue(said.startsWith("now <disk ") && said.contains("/srv/b.iso"), said);
    assertFalse(LiveConfiguration.sameMachine(before, domain("1", "<vcpu>2</vcpu>", DISC)));
    assertEquals(
        "no more <vcpu>2</vcpu>",
        LiveConfiguration.firstDifference(domain("1", "<vcpu>2</vcpu>", DISC), before));
  }

  @Test
  void whatCameAndWentIsSaid() {
    List<String> before = List.of("net0 (virtio-net-pci)", "vcpu1 (qemu64-x86_64-cpu)");
    assertEquals("", LiveConfiguration.difference(before, before));
    assertEquals(
        "net1 (e1000) plugged in; vcpu1 (qemu64-x86_64-cpu) unplugged",
        LiveConfiguration.difference(before, List.of("net0 (virtio-net-pci)", "net1 (e1000)")));
  }
}
