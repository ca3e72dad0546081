package org.understudy.libvirt;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.understudy.linux.LocalConnection;
import org.understudy.qmp.QmpCommand;
import org.understudy.qmp.QmpRefusal;

/**
 * QEMU's filters that lead what a running guest sends through another process: for each network
 * interface two socket character devices and two filter-redirectors. The one that takes packets
 * back has to be there before the one that sends them away, for QEMU goes through them from the
 * last to the first. Their names bear the session, so that a late removal hits no other session's.
 */
public final class NetworkFilters {
  private static final String PREFIX = "understudy-";

  private final LibvirtDomain domain;
  private final List<String> interfaces;
  private final String session;

  /**
   * @param interfaces aliases, as {@link #interfaces} lists them
   */
  public NetworkFilters(LibvirtDomain domain, List<String> interfaces, String session) {
    this.domain = domain;
    this.interfaces = List.copyOf(interfaces);
    this.session = session;
  }

  /** The aliases of a running domain's network interfaces, such as {@code net0}. */
  public static List<String> interfaces(LibvirtDomain domain) throws IOException {
    return DomainXml.parse(domain.xml()).all("/domain/devices/interface/alias").stream()
        .map(alias -> alias.getAttribute("name"))
        .toList();
  }

  /**
   * Whether the output of every interface can be led through a filter: tried with a filter that is
   * switched off and taken away again.
   */
  public static List<Finding> check(LibvirtDomain domain) throws IOException {
    List<Finding> findings = new ArrayList<>();
    List<String> interfaces = interfaces(domain);
    if (interfaces.isEmpty()) {
      findings.add(
          new Finding.Refused(
              "domain "
                  + domain.name()
                  + " has no network interface whose output could be held; leave --hold-output"
                  + " out"));
    }
    for (String alias : interfaces) {
      try {
        domain.qmp(
            QmpCommand.of(
                "object-add",
                filter(PREFIX + "probe-" + alias, alias)
                    .put("qom-type", "filter-buffer")
                    .put("interval", 1_000_000)
                    .put("status", "off")));
        delete(domain, PREFIX + "probe-" + alias);
      } catch (QmpRefusal e) {
        findings.add(new Finding.Refused(refusal(domain.name(), alias, e.description())));
      }
    }
    return findings;
  }

  /** QEMU's reason not to filter an interface, and what to do. */
  static String refusal(String domain, String alias, String reason) {
    String what = "the output of interface " + alias + " of domain " + domain + " cannot be held: ";
    if (reason.contains("Vhost is not supported")) {
      return what
          + "its packets go through vhost in the kernel and pass QEMU by; give the interface"
          + " <driver name='qemu'/> and plug it anew, or leave --hold-output out";
    }
    if (reason.contains("multiqueue is not supported")) {
      return what
          + "it has several queues, which QEMU's filters do not know; give it <driver queues='1'/>"
          + " and plug it anew, or leave --hold-output out";
    }
    return what + reason + "; leave --hold-output out";
  }

  /**
   * Leads an interface's output through whoever listens at a socket. Output is redirected from the
   * return of this on.
   *
   * @param sends what the connection that brings packets says first
   * @param takesBack what the connection that takes them back says first
   */
  public void insert(String alias, Path socket, byte[] sends, byte[] takesBack) throws IOException {
    connect(in(alias), socket, takesBack);
    connect(out(alias), socket, sends);
    redirect(in(alias), alias, "indev");
    redirect(out(alias), alias, "outdev");
  }

  private void connect(String id, Path socket, byte[] first) throws IOException {
    try (LocalConnection connection = new LocalConnection(socket)) {
      connection.write(first);
      domain.qmpWithFiles(
          QmpCommand.of("getfd", QmpCommand.arguments().put("fdname", id)), connection.fd());
    }
    ObjectNode arguments = QmpCommand.arguments().put("id", id);
    ObjectNode data = arguments.putObject("backend").put("type", "socket").putObject("data");
    data.put("server", false);
    data.putObject("addr").put("type", "fd").putObject("data").put("str", id);
    domain.qmp(QmpCommand.of("chardev-add", arguments));
  }

  private void redirect(String id, String alias, String direction) throws IOException {
    domain.qmp(
        QmpCommand.of(
            "object-add",
            filter(id, alias).put("qom-type", "filter-redirector").put(direction, id)));
  }

  private static ObjectNode filter(String id, String alias) {
    // libvirt's name for the back end of the interface; rx is what the back end receives.
    return QmpCommand.arguments().put("id", id).put("netdev", "host" + alias).put("queue", "rx");
  }

  /** Nothing is sent away any more; what is on its way still comes back. */
  public void stopSending() throws IOException {
    for (String alias : interfaces) {
      delete(domain, out(alias));
    }
  }

  /** Takes the filters away; may be repeated, and done for some that are not there. */
  public void remove() throws IOException {
    for (String alias : interfaces) {
      for (String id : List.of(out(alias), in(alias))) {
        delete(domain, id);
        unplug(domain, id);
      }
    }
  }

  /** Takes away what an earlier session left in a domain, whatever its name. */
  public static void removeLeftovers(LibvirtDomain domain) throws IOException {
    JsonNode objects =
        domain.qmp(QmpCommand.of("qom-list", QmpCommand.arguments().put("path", "/objects")));
    for (JsonNode object : objects) {
      if (object.path("name").asText().startsWith(PREFIX)) {
        delete(domain, object.path("name").asText());
      }
    }
    for (JsonNode device : domain.qmp(QmpCommand.of("query-chardev"))) {
      if (device.path("label").asText().startsWith(PREFIX)) {
        unplug(domain, device.path("label").asText());
      }
    }
  }

  /** The same as {@link #remove} as a shell script, for those who have no Java at hand. */
  public String removal() {
    StringBuilder script = new StringBuilder("#!/bin/sh\n# Takes the filters away.\n");
    script.append("ask() {\n  for try in 1 2 3 4 5 6 7 8 9 10; do\n");
    script
        .append("    timeout 10 virsh -c '")
        .append(domain.host().uri())
        .append("' qemu-monitor-command ")
        .append(domain.uuid())
        .append(" \"$1\" && return\n    sleep 1\n  done\n}\n");
    for (String alias : interfaces) {
      for (String id : List.of(out(alias), in(alias))) {
        for (String verb : List.of("object-del", "chardev-remove")) {
          QmpCommand command = QmpCommand.of(verb, QmpCommand.arguments().put("id", id));
          script.append("ask '").append(command.text()).append("'\n");
        }
      }
    }
    return script.toString();
  }

  private static void delete(LibvirtDomain domain, String id) throws IOException {
    tolerant(domain, QmpCommand.of("object-del", QmpCommand.arguments().put("id", id)));
  }

  private static void unplug(LibvirtDomain domain, String id) throws IOException {
    tolerant(domain, QmpCommand.of("chardev-remove", QmpCommand.arguments().put("id", id)));
  }

  private static void tolerant(LibvirtDomain domain, QmpCommand command) throws IOException {
    try {
      domain.qmp(command);
    } catch (QmpRefusal notThere) {
      // it is not there, which is what was wanted
    }
  }

  private String in(String alias) {
    return PREFIX + session + "-in-" + alias;
  }

  private String out(String alias) {
    return PREFIX + session + "-out-" + alias;
  }
}
