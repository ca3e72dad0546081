package org.understudy.libvirt;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.understudy.libvirt.LifecycleEvent.Change;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.TwoHosts;
import org.w3c.dom.Element;

/** libvirt's driver inside this process, without any daemon. */
@Tag("qemu")
class EmbeddedDriverTest {
  @Test
  void aDomainRunsWithoutADaemon() throws Exception {
    assumeTrue(TwoHosts.unavailable().isEmpty(), () -> TwoHosts.unavailable().orElseThrow());
    // A process of its own: from now on it would take every other URI for its own driver, too.
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                "-Dunderstudy.root=" + GuestImages.repositoryRoot(),
                EmbeddedDriverTest.class.getName())
            .redirectErrorStream(true)
            .start();
    try {
      process.getOutputStream().close();
      String output = new String(process.getInputStream().readAllBytes(), UTF_8);
      assertTrue(process.waitFor(30, TimeUnit.SECONDS), output);
      assertEquals(0, process.exitValue(), output);
      assertTrue(output.endsWith("told as FAILED\n"), output);
    } finally {
      process.destroyForcibly();
    }
  }

  /** What runs in that process. */
  public static void main(String[] none) throws Exception {
    Path root = Files.createTempDirectory("us-embed");
    Files.createDirectories(root.resolve("etc"));
    Files.writeString(
        root.resolve("etc/qemu.conf"),
        """
        user = "root"
        group = "root"
        security_driver = "none"
        stdio_handler = "file"
        remember_owner = 0
        cgroup_controllers = []
        namespaces = []
        """);
    DomainXml xml = DomainXml.parse(LibvirtBed.proof("embedded").xml());
    for (Element device :
        xml.all("/domain/devices/interface | /domain/devices/serial | /domain/devices/console")) {
      device.getParentNode().removeChild(device);
    }
    String uri = "qemu:///embed?root=" + root;
    try (LibvirtHost host = LibvirtHost.open(uri)) {
      EventRecord events = new EventRecord("embedded");
      host.listen(events);
      LibvirtDomain domain = host.create(xml.text(), 0);
      try {
        assertEquals("running", new LibvirtGuestMonitor(domain).status());
        assertTrue(QemuProcess.isQemuOf(domain.pid(), domain));
        assertTrue(QemuConf.of(uri).asRoot());
        byte[] state = LibvirtDomainTest.saveThroughPipe(new LibvirtGuestMonitor(domain));
        assertTrue(state.length > 10_000, state.length + " bytes of device state");
        events.clear();
        assertTrue(ProcessHandle.of(domain.pid()).orElseThrow().destroyForcibly());
        System.out.println("told as " + events.await(Change.FAILED).get(0));
      } finally {
        if (host.domainOrNull(domain.uuid()) != null) {
          domain.destroy();
        }
      }
    } finally {
      try (var files = Files.walk(root)) {
        for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
          Files.deleteIfExists(file);
        }
      }
    }
  }
}
