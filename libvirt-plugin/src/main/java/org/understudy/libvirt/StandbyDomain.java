package org.understudy.libvirt;

import java.io.IOException;
import java.nio.file.Path;
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

  private static final int VIR_DOMAIN_START_PAUSED = 1;

  private StandbyDomain() {}

  /**
   * Where the standby's QEMU listens for its stream. QEMU makes the socket itself, so the folder is
   * one that libvirt has given to QEMU's user.
   *
   * @param otherwise the folder where libvirt is not the system's
   */
  public static Path streamSocket(String uri, UUID domain, Path otherwise) {
    Path folder = uri.equals("qemu:///system") ? Path.of("/var/lib/libvirt/qemu") : otherwise;
    return folder.resolve("understudy-" + domain.toString().substring(0, 13) + ".in");
  }

  /**
   * The standby's XML: the primary's with {@code -incoming defer} added, once, and a generation ID
   * of its own where the domain has one. QEMU writes its own ID into the guest when it loads the
   * devices, and tells the guest: so a guest that was rolled back learns of it before it runs.
   *
   * @param migratableXml the primary's live XML as for a migration
   */
  public static String xml(String migratableXml) throws LibvirtFault {
    DomainXml xml = DomainXml.parse(withoutIncoming(migratableXml));
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
    for (String word : INCOMING) {
      Element argument = root.getOwnerDocument().createElementNS(DomainXml.QEMU, "qemu:arg");
      argument.setAttribute("value", word);
      line.insertBefore(argument, firstEnvironment); // libvirt's schema: arguments come first
    }
    return xml.text();
  }

  /** A domain's XML without the standby's {@code -incoming defer}; nothing else is changed. */
  public static String withoutIncoming(String domainXml) throws LibvirtFault {
    DomainXml xml = DomainXml.parse(domainXml);
    for (Element line : DomainXml.all(xml.root(), "*[local-name()='commandline']")) {
      List<Element> arguments = DomainXml.all(line, "*[local-name()='arg']");
      for (int i = 0; i + 1 < arguments.size(); i++) {
        if (arguments.get(i).getAttribute("value").equals(INCOMING.get(0))
            && arguments.get(i + 1).getAttribute("value").equals(INCOMING.get(1))) {
          line.removeChild(arguments.get(i));
          line.removeChild(arguments.get(i + 1));
          i++;
        }
      }
      if (DomainXml.all(line, "*").isEmpty()) {
        xml.root().removeChild(line);
      }
    }
    return xml.text();
  }

  /**
   * Starts the standby of {@code primary}, paused and waiting for its stream.
   *
   * @throws LibvirtFault libvirt does not start it, with libvirt's sentence
   */
  public static LibvirtDomain createPaused(LibvirtHost host, PrimaryDomain primary)
      throws LibvirtFault {
    return host.create(xml(primary.migratableXml()), VIR_DOMAIN_START_PAUSED);
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
      host.define(withLiveGenerationId(host, withoutIncoming(persistentXml)));
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
