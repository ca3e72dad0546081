package org.understudy.libvirt;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.w3c.dom.Element;
import org.w3c.dom.Node;

/**
 * A domain as the standby of another host's: the same domain, waiting for a migration stream with
 * {@code -incoming defer}. Transient until it is made ordinary after a failover.
 */
public final class StandbyDomain {
  /** What the standby's QEMU is started with beyond the primary's arguments. */
  static final List<String> INCOMING = List.of("-incoming", "defer");

  private static final String RECOVERY = "understudy-recovery";

  /** Where libvirt keeps sockets of QEMU's, on every host of a system libvirt: QEMU may write. */
  private static final String SOCKETS = "/var/lib/libvirt/qemu";

  private static final int VIR_DOMAIN_START_PAUSED = 1;

  private StandbyDomain() {}

  /**
   * Where the standby's QEMU listens for its stream. QEMU makes the socket itself, so the folder is
   * one that libvirt has given to QEMU's user.
   *
   * @param otherwise the folder where libvirt is not the system's
   */
  public static Path streamSocket(String uri, UUID domain, Path otherwise) {
    Path folder = uri.equals("qemu:///system") ? Path.of(SOCKETS) : otherwise;
    return folder.resolve("understudy-" + domain.toString().substring(0, 13) + ".in");
  }

  /**
   * The socket of a monitor of our own, beside libvirt's, by which a promotion can be finished
   * whose stream broke; null where libvirt is not the system's.
   */
  public static Path recoverySocket(String uri, UUID domain) {
    return uri.equals("qemu:///system")
        ? Path.of(SOCKETS, "understudy-" + domain.toString().substring(0, 13) + ".qmp")
        : null;
  }

  private static List<String> words(Path recoverySocket) {
    if (recoverySocket == null) {
      return INCOMING;
    }
    return List.of(
        "-chardev",
        "socket,id=" + RECOVERY + ",path=" + recoverySocket + ",server=on,wait=off",
        "-mon",
        "chardev=" + RECOVERY + ",mode=control",
        INCOMING.get(0),
        INCOMING.get(1));
  }

  /** Whether these two arguments are the standby's and not the domain's own. */
  private static boolean isOurs(String first, String second) {
    return switch (first) {
      case "-incoming" -> second.equals(INCOMING.get(1));
      case "-chardev" -> second.startsWith("socket,id=" + RECOVERY + ",");
      case "-mon" -> second.equals("chardev=" + RECOVERY + ",mode=control");
      default -> false;
    };
  }

  /**
   * The standby's XML: the primary's with {@code -incoming defer} and a monitor of our own added,
   * once, and a generation ID of its own where the domain has one. QEMU writes its own ID into the
   * guest when it loads the devices, and tells the guest: so a guest that was rolled back learns of
   * it before it runs.
   *
   * @param migratableXml the primary's live XML as for a migration
   * @param recoverySocket of the monitor, or null for none
   */
  public static String xml(String migratableXml, Path recoverySocket) throws LibvirtFault {
    DomainXml xml = DomainXml.parse(withoutOurs(migratableXml));
    Element root = xml.root();
    for (Element generation : xml.all("/domain/genid")) {
      generation.setTextContent(UUID.randomUUID().toString());
    }
    Element line =
        DomainXml.all(root, "*[local-name()='commandline']").stream()
            .filter(element -> DomainXml.QEMU.equals(element.getNamespaceURI()))
            .findFirst()
            .orElse(null);
    if (line == null) {
      root.setAttributeNS("http://www.w3.org/2000/xmlns/", "xmlns:qemu", DomainXml.QEMU);
      line = root.getOwnerDocument().createElementNS(DomainXml.QEMU, "qemu:commandline");
      root.appendChild(line);
    }
    Node firstEnvironment =
        DomainXml.all(line, "*[local-name()='env']").stream().findFirst().orElse(null);
    for (String word : words(recoverySocket)) {
      Element argument = root.getOwnerDocument().createElementNS(DomainXml.QEMU, "qemu:arg");
      argument.setAttribute("value", word);
      line.insertBefore(argument, firstEnvironment); // libvirt's schema: arguments come first
    }
    return xml.text();
  }

  /** A domain's XML without what the standby's had in addition; nothing else is changed. */
  public static String withoutOurs(String domainXml) throws LibvirtFault {
    DomainXml xml = DomainXml.parse(domainXml);
    removeOurs(xml);
    return xml.text();
  }

  /** Whether a domain has QEMU arguments beyond those that it had as a standby. */
  static boolean hasOwnArguments(DomainXml xml) {
    return DomainXml.all(xml.root(), "*[local-name()='commandline']").stream()
        .anyMatch(line -> ours(line).size() < DomainXml.all(line, "*").size());
  }

  private static void removeOurs(DomainXml xml) {
    for (Element line : DomainXml.all(xml.root(), "*[local-name()='commandline']")) {
      ours(line).forEach(line::removeChild);
      if (DomainXml.all(line, "*").isEmpty()) {
        xml.root().removeChild(line);
      }
    }
  }

  private static List<Element> ours(Element line) {
    List<Element> arguments = DomainXml.all(line, "*[local-name()='arg']");
    List<Element> found = new ArrayList<>();
    for (int i = 0; i + 1 < arguments.size(); i++) {
      String first = arguments.get(i).getAttribute("value");
      if (isOurs(first, arguments.get(i + 1).getAttribute("value"))) {
        found.addAll(arguments.subList(i, i + 2));
        i++;
      }
    }
    return found;
  }

  /**
   * Starts the standby of {@code primary}, paused and waiting for its stream.
   *
   * @param recoverySocket where a monitor of our own listens, or null for none
   * @throws LibvirtFault libvirt does not start it, with libvirt's sentence
   */
  public static LibvirtDomain createPaused(
      LibvirtHost host, PrimaryDomain primary, Path recoverySocket) throws LibvirtFault {
    return host.create(xml(primary.migratableXml(), recoverySocket), VIR_DOMAIN_START_PAUSED);
  }

  /**
   * After a failover: gives the domain the persistent configuration that it had on the other host,
   * so that its next start is an ordinary one. Nothing to do for a transient domain. It keeps the
   * generation ID that it runs with: at its next start nothing has been rolled back.
   *
   * @param persistentXml {@link PrimaryDomain#persistentXml}, or null
   */
  public static void makeOrdinary(LibvirtHost host, String persistentXml) throws LibvirtFault {
    if (persistentXml != null) {
      host.define(withLiveGenerationId(host, withoutOurs(persistentXml)));
    }
  }

  private static String withLiveGenerationId(LibvirtHost host, String persistentXml)
      throws LibvirtFault {
    DomainXml xml = DomainXml.parse(persistentXml);
    LibvirtDomain live = host.domainOrNull(UUID.fromString(xml.text("/domain/uuid")));
    String generation = live == null ? "" : DomainXml.parse(live.xml()).text("/domain/genid");
    if (generation.isEmpty()) {
      return persistentXml;
    }
    for (Element element : xml.all("/domain/genid")) {
      element.setTextContent(generation);
    }
    return xml.text();
  }

  /** Ends the standby's QEMU; nothing to do when there is none. */
  public static void tearDown(LibvirtDomain standby) throws IOException {
    LibvirtDomain there = running(standby);
    if (there == null) {
      return;
    }
    try {
      there.destroy();
    } catch (LibvirtFault e) {
      if (running(standby) != null) { // otherwise it has gone by itself meanwhile
        throw e;
      }
    }
  }

  private static LibvirtDomain running(LibvirtDomain standby) throws LibvirtFault {
    LibvirtDomain there = standby.host().domainOrNull(standby.uuid());
    try {
      return there != null && there.state().run().active() ? there : null;
    } catch (LibvirtFault e) {
      if (standby.host().domainOrNull(standby.uuid()) == null) {
        return null;
      }
      throw e;
    }
  }
}
