package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import org.junit.jupiter.api.Test;

class ArmedConfigurationTest {
  private static final String XML =
      """
      <domain type='kvm' id='3'>
        <name>db</name>
        <memory unit='KiB'>1048576</memory>
        <currentMemory unit='KiB'>1048576</currentMemory>
        <vcpu placement='static'>2</vcpu>
        <devices>
          <interface type='bridge'>
            <mac address='52:54:00:00:00:01'/>
          </interface>
          <disk type='file' device='cdrom'>
            <target dev='sda'/>
          </disk>
        </devices>
      </domain>
      """;

  private static String change(String from, String to) {
    return ArmedConfiguration.of(XML).firstChange(ArmedConfiguration.of(XML.replace(from, to)));
  }

  @Test
  void aChangeOfTheMachineIsNamed() {
    assertEquals(
        "<link state='down'/>",
        change("/>\n    </interface>", "/>\n<link state='down'/>\n    </interface>"));
    assertEquals(
        "<source file='/x'/>",
        change("<target dev='sda'/>", "<source file='/x'/>\n<target dev='sda'/>"));
    assertEquals(
        "<currentMemory unit='KiB'>4</currentMemory>",
        change("<currentMemory unit='KiB'>1048576", "<currentMemory unit='KiB'>4"));
    assertEquals("<vcpu placement='static'>3</vcpu>", change(">2</vcpu>", ">3</vcpu>"));
    assertEquals(
        "without <disk type='file' device='cdrom'>",
        change(
            "    <disk type='file' device='cdrom'>\n      <target dev='sda'/>\n    </disk>\n", ""));
  }

  @Test
  void whatIsNotTheMachineIsTheOperators() {
    assertNull(change("<name>db</name>", "<name>db</name>\n<title>x</title>\n<metadata/>"));
    assertNull(change("id='3'", "id='4'"));
  }
}
