package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.understudy.libvirt.DomainState.Run;
import org.understudy.libvirt.LifecycleEvent.Change;
import org.understudy.libvirt.StandbyHostCheck.Room;
import org.understudy.qmp.QmpCommand;
import org.understudy.standby.StandbyStatus;
import org.understudy.testbed.SerialLog;
import org.understudy.testbed.TwoHosts;
import org.understudy.testbed.TwoHosts.Host;

/** The standby of a real domain on another real libvirtd, and the domain that it becomes. */
@Tag("qemu")
class StandbyOnAnotherHostTest {
  private static final Pattern COUNTS = Pattern.compile("proof (\\d+) ok");
  private static LibvirtBed bed;

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

  private static Room room(long fastMib, long tierMib) {
    return new Room(
        fastMib << 20, 200L << 20, bed.hosts.folder().resolve("tiers/x"), tierMib << 20);
  }

  private static List<Finding> check(PrimaryDomain primary, Room room) throws IOException {
    return StandbyHostCheck.check(bed.b, primary, bed.conf(Host.B), room);
  }

  private static String refusal(PrimaryDomain primary) throws IOException {
    List<Finding> findings = check(primary, room(1, 1));
    assertEquals(1, findings.size(), findings::toString);
    return findings.get(0).sentence();
  }

  @Test
  void theStandbyDiffersFromThePrimaryByItsIncomingArgumentAlone() throws Exception {
    bed.hosts.start(Host.A, LibvirtBed.proof("armed").withVideo());
    LibvirtDomain primary = bed.a.domain("armed");
    PrimaryDomain description = PrimaryDomain.of(primary);
    assertEquals(List.of(), check(description, room(64, 256)));
    LibvirtDomain standby = StandbyDomain.createPaused(bed.b, description);
    assertEquals(Run.PAUSED, standby.state().run());
    assertEquals(primary.uuid(), standby.uuid());
    assertFalse(standby.pid() == primary.pid());
    assertEquals(
        PrimaryDomain.qemuVersion(primary), PrimaryDomain.qemuVersion(standby), "versions");

    List<String> arguments = settled(primary);
    List<String> standbys = settled(standby);
    List<String> expected = new ArrayList<>(arguments);
    int sandbox = expected.indexOf("-sandbox");
    assertTrue(sandbox > 0, "libvirt's order of arguments");
    expected.addAll(sandbox, StandbyDomain.INCOMING);
    assertEquals(String.join("\n", expected), String.join("\n", standbys));

    String already = refusal(description);
    assertTrue(
        already.startsWith("domain armed (" + primary.uuid() + ") is already paused"), already);
    try (LibvirtStandbyMonitor monitor = new LibvirtStandbyMonitor(standby, 10_000)) {
      assertEquals(new StandbyStatus(StandbyStatus.ARMED, ""), monitor.standbyStatus());
      monitor.enablePostcopyRam();
      Path socket = bed.hosts.outside(Host.B, "in.sock");
      monitor.migrateIncoming(socket);
      assertTrue(Files.exists(socket), "QEMU listens");
      EventRecord events = new EventRecord("armed");
      bed.b.listen(events);
      // QEMU and libvirt hide a resume of an armed standby; a reset is told.
      standby.resume();
      System.out.println("after a resume: " + monitor.standbyStatus() + ", " + standby.state());
      bed.hosts.virsh(Host.B, "reset", "armed");
      events.await(Change.RESET);
      StandbyStatus disturbed = monitor.standbyStatus();
      assertEquals(StandbyStatus.ARMED, disturbed.runState());
      assertEquals("somebody has reset the standby", disturbed.disturbance());
      bed.b.unlisten(events);
    }
    StandbyDomain.tearDown(standby);
    StandbyDomain.tearDown(standby);
    assertNull(bed.b.domainOrNull(primary.uuid()));
    primary.destroy();
  }

  @Test
  void whatAStandbyHostLacksIsRefusedWithFigures() throws Exception {
    bed.hosts.start(Host.A, LibvirtBed.proof("lacking"));
    PrimaryDomain p = PrimaryDomain.of(bed.a.domain("lacking"));
    assertTrue(p.qemuVersion().matches("\\d+\\.\\d+\\.\\d+ .*"), p.qemuVersion());
    String version =
        refusal(with(p, "7.2.0 (other)", p.emulator(), p.machine(), p.migratableXml()));
    assertTrue(version.contains("7.2.0 (other)") && version.contains(p.qemuVersion()), version);
    String machine =
        refusal(with(p, p.qemuVersion(), p.emulator(), "pc-q35-99.0", p.migratableXml()));
    assertTrue(machine.contains("cannot run machine pc-q35-99.0"), machine);
    String emulator =
        refusal(with(p, p.qemuVersion(), "/usr/bin/qemu-nil", p.machine(), p.migratableXml()));
    assertTrue(emulator.contains("no emulator /usr/bin/qemu-nil"), emulator);
    String kernel = DomainXml.parse(p.migratableXml()).text("/domain/os/kernel");
    String file =
        refusal(
            with(
                p,
                p.qemuVersion(),
                p.emulator(),
                p.machine(),
                p.migratableXml().replace(kernel, "/no/such/kernel")));
    assertTrue(file.contains("needs /no/such/kernel, which the standby host does not have"), file);
    String model = DomainXml.parse(p.migratableXml()).text("/domain/cpu/model");
    String cpu =
        refusal(
            with(
                p,
                p.qemuVersion(),
                p.emulator(),
                p.machine(),
                p.migratableXml().replace(">" + model + "<", ">Nonesuch<")));
    assertTrue(cpu.contains("no CPU model Nonesuch"), cpu);

    List<Finding> tooBig = check(p, room(1L << 30, 1L << 40));
    assertEquals(2, tooBig.size(), tooBig::toString);
    assertTrue(tooBig.get(0).sentence().contains("needs 1073742024 MiB"), tooBig::toString);
    assertTrue(tooBig.get(1).sentence().contains("need 1099511627776 MiB"), tooBig::toString);
    for (Finding finding : tooBig) {
      System.out.println(finding.sentence());
    }
    bed.a.domain("lacking").destroy();
  }

  private static PrimaryDomain with(
      PrimaryDomain p, String version, String emulator, String machine, String xml) {
    return new PrimaryDomain(
        p.uuid(),
        p.name(),
        version,
        emulator,
        p.arch(),
        machine,
        p.type(),
        p.memoryBytes(),
        p.hostCpuXml(),
        xml,
        p.persistentXml(),
        p.devices());
  }

  /** The guest goes over as a plain migration stream, which the loader's replaces. */
  @Test
  void aPromotedDomainIsSavedMigratedShutDownAndStartedLikeAnyOther() throws Exception {
    LibvirtDomain primary = bed.startOnA(LibvirtBed.proof("promoted"));
    bed.serialOnA("promoted").awaitPasses(2, LibvirtBed.BOOT);
    PrimaryDomain description = PrimaryDomain.of(primary);
    LibvirtDomain standby = StandbyDomain.createPaused(bed.b, description);
    LibvirtStandbyMonitor monitor = new LibvirtStandbyMonitor(standby, 10_000);
    Path socket = bed.hosts.outside(Host.B, "go.sock");
    monitor.migrateIncoming(socket);
    primary.qmp(QmpCommand.of("migrate", QmpCommand.arguments().put("uri", "unix:" + socket)));
    long end = System.nanoTime() + Duration.ofSeconds(60).toNanos();
    while (!monitor.migrationStatus().equals("completed")) {
      assertTrue(System.nanoTime() < end, monitor.migrationStatus());
      Thread.onSpinWait();
    }
    primary.destroy();
    SerialLog serial = bed.hosts.serial(Host.B, "promoted");
    long position = serial.position();
    monitor.resume();
    monitor.awaitRunning(5000);
    monitor.close();
    serial.await(COUNTS, position, LibvirtBed.BOOT);
    serial.awaitPasses(2, LibvirtBed.BOOT);
    StandbyDomain.makeOrdinary(bed.b, description.persistentXml());
    assertFalse(standby.persistentXml().contains("incoming"));
    // It can be protected again, and is not passed -incoming twice.
    assertEquals(List.of(), Preflight.check(standby, bed.conf(Host.B)));
    bed.hosts.virsh(
        Host.B,
        "migrate",
        "--live",
        "--persistent",
        "promoted",
        "qemu+tcp://" + Host.A.address() + "/system");
    LibvirtDomain back = bed.a.domain("promoted");
    assertEquals(Run.RUNNING, back.state().run());
    bed.serialOnA("promoted").awaitPasses(2, LibvirtBed.BOOT);
    // The live XML keeps the argument until the next start; libvirt adds the same one, so nothing
    // is lost: seen with libvirt 9.0 in a migration and in a restore.
    assertEquals(List.of("defer", "defer"), incoming(back));
    String image = bed.hosts.outside(Host.A, "promoted.save").toString();
    bed.hosts.virsh(Host.A, "save", "promoted", image);
    long saved = bed.serialOnA("promoted").position();
    bed.hosts.virsh(Host.A, "restore", image);
    assertEquals(new DomainState(Run.RUNNING, "restored"), back.state());
    bed.serialOnA("promoted").await(COUNTS, saved, Duration.ofSeconds(60));
    back.destroy();
    back.start();
    assertFalse(QemuProcess.commandLine(back.pid()).contains("-incoming"));
    back.destroy();
    assertThrows(LibvirtFault.class, back::destroy);
  }

  /** What follows each -incoming. */
  private static List<String> incoming(LibvirtDomain domain) throws IOException {
    List<String> arguments = QemuProcess.commandLine(domain.pid());
    List<String> found = new ArrayList<>();
    for (int i = 0; i + 1 < arguments.size(); i++) {
      if (arguments.get(i).equals("-incoming")) {
        found.add(arguments.get(i + 1));
      }
    }
    return found;
  }

  /** Arguments without what differs between any two starts: descriptors, ids, secrets, times. */
  private static List<String> settled(LibvirtDomain domain) throws IOException {
    return QemuProcess.commandLine(domain.pid()).stream()
        .map(
            argument ->
                argument
                    .replaceAll("domain-\\d+-", "domain-N-")
                    .replaceAll("\\bfds?=\\d+", "fd=N")
                    .replaceAll("\"fd\":\"\\d+\"", "\"fd\":\"N\"")
                    .replaceAll("/dev/fdset/\\d+", "/dev/fdset/N"))
        .toList();
  }
}
