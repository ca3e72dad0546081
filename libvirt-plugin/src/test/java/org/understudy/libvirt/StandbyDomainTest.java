package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Element;

class StandbyDomainTest {
  private static final String PLAIN =
      "<domain type='qemu'><name>a</name><devices><serial type='file'><source path='/s.log'/>"
          + "</serial></devices></domain>";

  private static List<String> arguments(String xml) throws Exception {
    return DomainXml.parse(xml)
        .all("/domain/*[local-name()='commandline']/*[local-name()='arg']")
        .stream()
        .map((Element e) -> e.getAttribute("value"))
        .toList();
  }

  @Test
  void theStandbyWaitsForItsStreamAndIsOtherwiseTheSame() throws Exception {
    String standby = StandbyDomain.xml(PLAIN, null);
    assertEquals(List.of("-incoming", "defer"), arguments(standby));
    assertEquals(
        DomainXml.parse(PLAIN).text(),
        StandbyDomain.withoutOurs(standby).replace(" xmlns:qemu=\"" + DomainXml.QEMU + "\"", ""));
  }

  @Test
  void theStandbyOfAStandbyHasTheArgumentOnce() throws Exception {
    assertEquals(
        List.of("-incoming", "defer"),
        arguments(StandbyDomain.xml(StandbyDomain.xml(PLAIN, null), null)));
  }

  @Test
  void argumentsOfTheDomainsOwnStayInOrderBeforeTheEnvironment() throws Exception {
    String own =
        PLAIN.replace(
            "</domain>",
            "<q:commandline xmlns:q='"
                + DomainXml.QEMU
                + "'><q:arg value='-d'/><q:arg value='guest_errors'/><q:env name='A' value='1'/>"
                + "</q:commandline></domain>");
    String standby = StandbyDomain.xml(own, null);
    assertEquals(List.of("-d", "guest_errors", "-incoming", "defer"), arguments(standby));
    assertTrue(standby.indexOf("defer") < standby.indexOf("env"), standby);
    assertEquals(List.of("-d", "guest_errors"), arguments(StandbyDomain.withoutOurs(standby)));
  }

  @Test
  void anEmptyCommandLineIsNotLeftBehind() throws Exception {
    String again = StandbyDomain.withoutOurs(StandbyDomain.xml(PLAIN, null));
    assertFalse(again.contains("commandline"), again);
  }

  @Test
  void theStandbyHasAGenerationIdOfItsOwnWhereTheDomainHasOne() throws Exception {
    String id = "43dc0cf8-809b-4adb-9bea-a9abb5f3d90e";
    String own = PLAIN.replace("<devices>", "<genid>" + id + "</genid><devices>");
    String first = DomainXml.parse(StandbyDomain.xml(own, null)).text("/domain/genid");
    String second = DomainXml.parse(StandbyDomain.xml(own, null)).text("/domain/genid");
    assertEquals(3, Set.of(id, first, second).size(), first + " " + second);
    assertEquals(first, UUID.fromString(first).toString());
    assertFalse(StandbyDomain.xml(PLAIN, null).contains("genid"));
  }

  @Test
  void theMonitorOfOurOwnIsThereOnceAndGoesWithTheRest() throws Exception {
    UUID uuid = UUID.fromString("01234567-89ab-cdef-0123-456789abcdef");
    Path socket = StandbyDomain.recoverySocket("qemu:///system", uuid);
    String standby = StandbyDomain.xml(StandbyDomain.xml(PLAIN, socket), socket);
    assertEquals(
        List.of(
            "-chardev",
            "socket,id=understudy-recovery,path=/var/lib/libvirt/qemu/understudy-01234567-89ab.qmp"
                + ",server=on,wait=off",
            "-mon",
            "chardev=understudy-recovery,mode=control",
            "-incoming",
            "defer"),
        arguments(standby));
    assertFalse(StandbyDomain.withoutOurs(standby).contains("commandline"));
    assertFalse(StandbyDomain.hasOwnArguments(DomainXml.parse(standby)));
    assertTrue(
        StandbyDomain.hasOwnArguments(
            DomainXml.parse(standby.replace("value=\"-mon\"", "value=\"-d\""))));
    assertEquals(null, StandbyDomain.recoverySocket("qemu:///embed?root=/r", uuid));
  }
}
