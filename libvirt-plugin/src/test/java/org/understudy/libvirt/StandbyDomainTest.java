package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
    String standby = StandbyDomain.xml(PLAIN);
    assertEquals(List.of("-incoming", "defer"), arguments(standby));
    assertEquals(
        DomainXml.parse(PLAIN).text(),
        StandbyDomain.withoutIncoming(standby)
            .replace(" xmlns:qemu=\"" + DomainXml.QEMU + "\"", ""));
  }

  @Test
  void theStandbyOfAStandbyHasTheArgumentOnce() throws Exception {
    assertEquals(
        List.of("-incoming", "defer"), arguments(StandbyDomain.xml(StandbyDomain.xml(PLAIN))));
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
    String standby = StandbyDomain.xml(own);
    assertEquals(List.of("-d", "guest_errors", "-incoming", "defer"), arguments(standby));
    assertTrue(standby.indexOf("defer") < standby.indexOf("env"), standby);
    assertEquals(List.of("-d", "guest_errors"), arguments(StandbyDomain.withoutIncoming(standby)));
  }

  @Test
  void anEmptyCommandLineIsNotLeftBehind() throws Exception {
    String again = StandbyDomain.withoutIncoming(StandbyDomain.xml(PLAIN));
    assertFalse(again.contains("commandline"), again);
  }

  @Test
  void theStandbyHasAGenerationIdOfItsOwnWhereTheDomainHasOne() throws Exception {
    String id = "43dc0cf8-809b-4adb-9bea-a9abb5f3d90e";
    String own = PLAIN.replace("<devices>", "<genid>" + id + "</genid><devices>");
    String first = DomainXml.parse(StandbyDomain.xml(own)).text("/domain/genid");
    String second = DomainXml.parse(StandbyDomain.xml(own)).text("/domain/genid");
    assertEquals(3, Set.of(id, first, second).size(), first + " " + second);
    assertEquals(first, UUID.fromString(first).toString());
    assertFalse(StandbyDomain.xml(PLAIN).contains("genid"));
  }
}
