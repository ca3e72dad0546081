package org.understudy.libvirt;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.understudy.qmp.QmpCommand;

/**
 * What a running QEMU is made of, from its monitor and from the kernel: also what was added on its
 * command line or through its monitor, which libvirt's XML does not show.
 *
 * @param devices as QOM has them, with an empty id where none was given
 * @param objects of {@code /objects}, such as memory backends
 * @param memories what {@code query-memdev} says
 * @param drives what {@code query-block} says
 * @param network what {@code info network} prints
 * @param numaNodes of the guest
 * @param lockedKib memory that the kernel may not move or swap
 * @param devicesOpen devices of the host that QEMU has open, such as {@code /dev/vhost-net}
 */
record QemuFacts(
    List<Part> devices,
    List<Part> objects,
    JsonNode memories,
    JsonNode drives,
    String network,
    int numaNodes,
    long lockedKib,
    Set<String> devicesOpen) {

  /**
   * A device or an object.
   *
   * @param id as given by whoever added it
   * @param type QOM's name for what it is, such as {@code virtio-net-pci}
   */
  record Part(String id, String type) {}

  /** Asks QEMU; changes nothing. */
  static QemuFacts of(LibvirtDomain domain) throws IOException {
    List<Part> devices = new ArrayList<>(parts(domain, "/machine/peripheral"));
    for (Part part : parts(domain, "/machine/peripheral-anon")) {
      devices.add(new Part("", part.type()));
    }
    int pid = domain.pid();
    return new QemuFacts(
        List.copyOf(devices),
        parts(domain, "/objects"),
        domain.qmp(QmpCommand.of("query-memdev")),
        domain.qmp(QmpCommand.of("query-block")),
        domain.hmp("info network"),
        (int) number("^(\\d+) nodes", domain.hmp("info numa")),
        number("VmLck:\\s+(\\d+) kB", Files.readString(Path.of("/proc/" + pid + "/status"))),
        devicesOpen(pid));
  }

  private static List<Part> parts(LibvirtDomain domain, String path) throws IOException {
    List<Part> found = new ArrayList<>();
    for (JsonNode each :
        domain.qmp(QmpCommand.of("qom-list", QmpCommand.arguments().put("path", path)))) {
      String type = each.path("type").asText(); // "child<virtio-net-pci>", or that of a property
      if (type.startsWith("child<")) {
        found.add(
            new Part(
                each.path("name").asText(), type.substring("child<".length(), type.length() - 1)));
      }
    }
    return List.copyOf(found);
  }

  private static long number(String pattern, String text) {
    Matcher matcher = Pattern.compile(pattern, Pattern.MULTILINE).matcher(text);
    return matcher.find() ? Long.parseLong(matcher.group(1)) : 0;
  }

  private static Set<String> devicesOpen(int pid) throws IOException {
    Set<String> found = new TreeSet<>();
    try (DirectoryStream<Path> open = Files.newDirectoryStream(Path.of("/proc/" + pid + "/fd"))) {
      for (Path each : open) {
        try {
          String target = Files.readSymbolicLink(each).toString();
          if (target.startsWith("/dev/")) {
            found.add(target);
          }
        } catch (IOException closedMeanwhile) {
          // Descriptors come and go.
        }
      }
    }
    return found;
  }
}
