package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.understudy.libvirt.DomainState.Run;
import org.understudy.qmp.QmpCommand;
import org.understudy.standby.StandbyStatus;
import org.understudy.testbed.TwoHosts;
import org.understudy.testbed.TwoHosts.Host;

/** An armed domain without any disk, and what tells that somebody has used it through libvirt. */
@Tag("qemu")
class ArmedStandbyTest {
  private static LibvirtBed bed;
  private LibvirtDomain standby;
  private int lockedAtFirst;

  @BeforeAll
  static void up() throws IOException {
    assumeTrue(TwoHosts.unavailable().isEmpty(), () -> TwoHosts.unavailable().orElseThrow());
    bed = new LibvirtBed();
  }

  @AfterAll
  static void down() throws IOException {
    if (bed != null) {
      bed.close();
    }
  }

  @BeforeEach
  void arm() throws Exception {
    String drive = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>";
    String nic =
        "<interface type='bridge'><mac address='52:54:00:77:01:01'/><source bridge='br0'/>"
            + "<model type='virtio'/></interface>";
    RefusedDomainTest.Case plain = RefusedDomainTest.Case.arguments("", "-incoming", "defer");
    String screen = "<video><model type='vga'/></video>";
    standby =
        bed.b.create(plain.xml().replace("</devices>", drive + nic + screen + "</devices>"), 1);
    lockedAtFirst = lockedFiles(); // libvirt has QEMU lock its pid file
    ResumeTripwire.lay(standby);
  }

  @AfterEach
  void end() throws Exception {
    StandbyDomain.tearDown(standby);
  }

  private int lockedFiles() throws IOException {
    int locked = 0;
    Path folder = Path.of("/proc/" + standby.pid() + "/fdinfo");
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
      for (Path file : files) {
        try {
          locked += Files.readString(file).contains("\nlock:") ? 1 : 0;
        } catch (NoSuchFileException closedMeanwhile) {
          // Descriptors come and go.
        }
      }
    }
    return locked;
  }

  private boolean hasTripwire() throws IOException {
    return standby.qmp(QmpCommand.of("query-named-block-nodes")).toString().contains("tripwire");
  }

  @Test
  void aResumeLocksTheTripwireAndNothingElseTells() throws Exception {
    assertEquals(lockedAtFirst, lockedFiles());
    assertTrue(hasTripwire());
    try (LibvirtStandbyMonitor monitor = new LibvirtStandbyMonitor(standby, 10_000)) {
      assertEquals(new StandbyStatus(StandbyStatus.ARMED), monitor.standbyStatus());
      bed.hosts.virsh(Host.B, "resume", standby.name());
      assertTrue(lockedFiles() > lockedAtFirst, "locked files after a resume");
      assertEquals(new StandbyStatus(StandbyStatus.ARMED), monitor.standbyStatus());
      assertEquals(Run.PAUSED, standby.state().run());
    }
    ResumeTripwire.remove(standby);
    assertTrue(!hasTripwire());
    assertEquals(lockedAtFirst, lockedFiles());
    ResumeTripwire.remove(standby); // says so, does no harm
  }

  @Test
  void lookingAtItLocksNothing() throws Exception {
    String file = bed.hosts.outside(Host.B, "lib", "act").toString();
    bed.hosts.virsh(Host.B, "screenshot", standby.name(), file);
    bed.hosts.virsh(Host.B, "suspend", standby.name());
    bed.hosts.virsh(Host.B, "domstats", standby.name());
    bed.hosts.virsh(Host.B, "setmem", standby.name(), "16M", "--live");
    assertEquals(lockedAtFirst, lockedFiles());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "reset NAME|reset the standby",
        "reboot NAME|pressed the standby's power button",
        "attach-interface NAME bridge br0 --model virtio --live|changed the standby's machine: <interface type='bridge'>",
        "domif-setlink NAME 52:54:00:77:01:01 down|changed the standby's machine: <link state='down'/>",
        "change-media NAME sda MEDIUM --insert --live|changed the standby's machine: <driver",
      })
  void anActIsNamed(String act, String words) throws Exception {
    Path medium = bed.hosts.outside(Host.B, "lib", "medium.iso");
    Files.write(medium, new byte[1 << 20]);
    try (LibvirtStandbyMonitor monitor = new LibvirtStandbyMonitor(standby, 10_000)) {
      assertEquals(new StandbyStatus(StandbyStatus.ARMED), monitor.standbyStatus());
      bed.hosts.virsh(
          Host.B,
          act.replace("NAME", standby.name()).replace("MEDIUM", medium.toString()).split(" "));
      String seen = "";
      long end = System.nanoTime() + 10_000_000_000L; // events have a thread of their own
      while (seen.isEmpty() && System.nanoTime() < end) {
        seen = monitor.standbyStatus().disturbance();
      }
      System.out.println(act + ": " + seen);
      assertTrue(seen.contains(words), seen);
    }
  }
}
