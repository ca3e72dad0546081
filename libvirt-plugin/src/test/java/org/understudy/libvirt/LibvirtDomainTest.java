package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.understudy.capture.GuestMonitor.PassedDescriptor;
import org.understudy.capture.MonitorRefusal;
import org.understudy.libvirt.DomainState.Run;
import org.understudy.libvirt.LifecycleEvent.Change;
import org.understudy.linux.AnonymousPipe;
import org.understudy.linux.PipeEnds;
import org.understudy.qmp.QmpCommand;
import org.understudy.qmp.QmpRefusal;
import org.understudy.testbed.Domain;
import org.understudy.testbed.TwoHosts;
import org.understudy.testbed.TwoHosts.Host;

/** Real domains of a real libvirtd: their monitors, their events, the two ways to end. */
@Tag("qemu")
class LibvirtDomainTest {
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

  @Test
  void eachEndOfAQemuIsToldForWhatItWas() throws Exception {
    Domain guest = LibvirtBed.proof("ends");
    EventRecord events = new EventRecord("ends");
    bed.a.listen(events);
    LibvirtDomain domain = bed.startOnA(guest);
    events.await(Change.STARTED);
    assertEquals(Run.RUNNING, domain.state().run());
    assertEquals(bed.hosts.qemuPid(Host.A, "ends"), domain.pid());

    int pid = domain.pid();
    events.clear();
    assertTrue(ProcessHandle.of(pid).orElseThrow().destroyForcibly());
    events.await(Change.FAILED);
    assertFalse(Change.FAILED.endedOnPurpose());
    assertEquals(new DomainState(Run.SHUT_OFF, "crashed"), domain.state());
    assertThrows(LibvirtFault.class, () -> domain.qmp("{\"execute\":\"query-status\"}"));

    events.clear();
    domain.start();
    assertNotEquals(pid, domain.pid());
    domain.suspend();
    events.await(Change.SUSPENDED);
    assertEquals(new DomainState(Run.PAUSED, "user"), domain.state());
    domain.resume();
    events.await(Change.RESUMED);
    events.clear();
    domain.destroy();
    events.await(Change.DESTROYED);
    assertTrue(Change.DESTROYED.endedOnPurpose());

    long position = bed.serialOnA("ends").position();
    domain.start();
    bed.serialOnA("ends")
        .await(java.util.regex.Pattern.compile("proof ready"), position, LibvirtBed.BOOT);
    events.clear();
    domain.shutdown();
    events.await(Change.SHUT_DOWN);
    assertEquals(new DomainState(Run.SHUT_OFF, "shutdown"), domain.state());
    bed.a.unlisten(events);
  }

  @Test
  void deviceStateArrivesThroughAPassedPipeAndTheGuestGoesOn() throws Exception {
    LibvirtDomain domain = bed.startOnA(LibvirtBed.proof("piped"));
    LibvirtGuestMonitor monitor = new LibvirtGuestMonitor(domain);
    EventRecord events = new EventRecord("piped");
    bed.a.listen(events);
    int before = descriptors(domain.pid());
    byte[] state = saveThroughPipe(monitor);
    assertEquals(0x5145564d, ByteBuffer.wrap(state).getInt(), "QEMU_VM_FILE_MAGIC");
    assertTrue(state.length > 10_000, state.length + " bytes of device state");
    assertEquals("running", monitor.status());
    assertEquals(before, descriptors(domain.pid()), "descriptors of QEMU");
    assertEquals(
        List.of(Change.SUSPENDED, Change.RESUMED),
        events.await(Change.RESUMED),
        "events of a pause");
    bed.a.unlisten(events);
    bed.serialOnA("piped").awaitPasses(2, LibvirtBed.BOOT);
    domain.destroy();
  }

  @Test
  void aReaderThatGoesAwayLeavesTheGuestRunning() throws Exception {
    LibvirtDomain domain = bed.startOnA(LibvirtBed.proof("left"));
    LibvirtGuestMonitor monitor = new LibvirtGuestMonitor(domain);
    try (AnonymousPipe pipe = new AnonymousPipe()) {
      pipe.setSize(4096);
      PassedDescriptor passed = monitor.addDescriptor(pipe.writeFd());
      pipe.closeWrite();
      CompletableFuture<Void> saving = saving(monitor, passed);
      assertTrue(pipe.awaitReadable(10_000), "first bytes within 10 s");
      pipe.closeRead();
      Exception refused = assertThrows(Exception.class, () -> saving.get(10, TimeUnit.SECONDS));
      assertTrue(refused.getCause().getCause() instanceof MonitorRefusal, refused::toString);
      monitor.removeDescriptor(passed);
    }
    assertEquals("running", monitor.status());
    assertEquals(Run.RUNNING, domain.state().run());
    bed.serialOnA("left").awaitPasses(2, LibvirtBed.BOOT);
    domain.destroy();
  }

  @Test
  void whatADeadDaemonLeavesInQemuIsTakenBackOrCounted() throws Exception {
    LibvirtDomain domain = bed.startOnA(LibvirtBed.proof("leaves"));
    LibvirtGuestMonitor monitor = new LibvirtGuestMonitor(domain);
    saveThroughPipe(monitor);
    int descriptors = descriptors(domain.pid());
    int pipes = PipeEnds.writing(domain.pid());
    for (int death = 0; death < 3; death++) {
      try (AnonymousPipe pipe = new AnonymousPipe()) {
        pipe.setSize(4096);
        PassedDescriptor passed = monitor.addDescriptor(pipe.writeFd());
        pipe.closeWrite();
        CompletableFuture<Void> saving = saving(monitor, passed);
        assertTrue(pipe.awaitReadable(10_000), "first bytes within 10 s");
        pipe.closeRead();
        assertThrows(Exception.class, () -> saving.get(10, TimeUnit.SECONDS));
      } // and nobody takes the descriptor back
    }
    assertTrue(PipeEnds.writing(domain.pid()) >= pipes + 3, "given and not taken back");
    assertEquals(3, monitor.removeLeftDescriptors());
    assertEquals(0, monitor.removeLeftDescriptors());
    int left = descriptors(domain.pid()) - descriptors;
    assertEquals(left, PipeEnds.writing(domain.pid()) - pipes, "what is left writes into pipes");
    assertTrue(left <= 3, left + " descriptors are left after 3 failed saves");
    System.out.println("## QEMU keeps " + left + " descriptors of 3 failed saves");
    assertEquals("running", monitor.status());
    domain.destroy();
  }

  @Test
  void whatQemuRefusesIsSaidInItsWords() throws Exception {
    bed.hosts.start(Host.A, LibvirtBed.proof("refusing"));
    LibvirtDomain domain = bed.a.domain("refusing");
    QmpRefusal refusal =
        assertThrows(QmpRefusal.class, () -> domain.qmp("{\"execute\":\"no-such-command\"}"));
    assertEquals("CommandNotFound", refusal.errorClass());
    MonitorRefusal save =
        assertThrows(
            MonitorRefusal.class,
            () -> new LibvirtGuestMonitor(domain).saveDevicesState("/nowhere/at/all"));
    assertTrue(save.getMessage().contains("/nowhere/at/all"), save.getMessage());
    assertTrue(domain.hmp("info ramblock").contains("pc.ram"));
    assertTrue(domain.qmp(QmpCommand.of("query-version")).has("qemu"));
    LibvirtFault unknown = assertThrows(LibvirtFault.class, () -> bed.a.domain("nobody"));
    assertTrue(unknown.getMessage().startsWith("no domain nobody on qemu:"), unknown.getMessage());
    assertEquals(domain.uuid(), bed.a.domain(domain.uuid().toString()).uuid());
    assertEquals(List.of(), Preflight.check(domain, bed.conf(Host.A)));
    domain.suspend();
    String paused = Preflight.check(domain, bed.conf(Host.A)).get(0).sentence();
    assertEquals("domain refusing is paused (user); resume it first", paused);
    domain.destroy();
    String off = Preflight.check(domain, bed.conf(Host.A)).get(0).sentence();
    assertEquals("domain refusing is shut off (destroyed); start it first", off);
  }

  @Test
  void aKilledLibvirtdIsFoundAgainAndTheDomainHandleGoesOn() throws Exception {
    bed.hosts.start(Host.A, LibvirtBed.proof("outlives"));
    LibvirtDomain domain = bed.a.domain("outlives");
    int qemu = domain.pid();
    EventRecord events = new EventRecord("outlives");
    bed.a.listen(events);
    int libvirtd =
        Integer.parseInt(Files.readString(bed.hosts.outside(Host.A, "libvirtd.pid")).strip());
    assertTrue(ProcessHandle.of(libvirtd).orElseThrow().destroyForcibly());
    events.awaitConnection(false);
    LibvirtFault fault = assertThrows(LibvirtFault.class, domain::state);
    assertTrue(fault.getMessage().contains("does not answer"), fault.getMessage());
    bed.hosts.exec(Host.A, "libvirtd", "--daemon", "--listen").orThrow();
    events.awaitConnection(true);
    assertEquals(Run.RUNNING, domain.state().run());
    assertEquals(qemu, domain.pid());
    events.clear();
    domain.destroy();
    events.await(Change.DESTROYED);
    bed.a.unlisten(events);
  }

  @Test
  void theDoctorSaysWhatIsThereAndWhatIsNot() throws Exception {
    HostDoctor.Diagnosis here = HostDoctor.examine(bed.hosts.uri(Host.A));
    System.out.println(here);
    assertTrue(here.facts().stream().anyMatch(fact -> fact.startsWith("libvirt ")));
    assertTrue(
        here.facts().stream()
            .anyMatch(fact -> fact.startsWith("QEMU 7.") || fact.startsWith("QEMU 1")));
    assertTrue(here.facts().contains("libvirt-qemu.so.0 can pass descriptors"));
    HostDoctor.Diagnosis nobody = HostDoctor.examine("qemu:///system?socket=/nowhere/sock");
    assertFalse(Finding.allows(nobody.findings()));
    assertTrue(
        nobody.findings().get(0).sentence().startsWith("connecting to libvirt at qemu:///system"),
        nobody.findings()::toString);
  }

  private static CompletableFuture<Void> saving(
      LibvirtGuestMonitor monitor, PassedDescriptor passed) {
    return CompletableFuture.runAsync(
        () -> {
          try {
            monitor.saveDevicesState("/proc/self/fd/" + passed.number());
          } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
          }
        });
  }

  static byte[] saveThroughPipe(LibvirtGuestMonitor monitor) throws Exception {
    try (AnonymousPipe pipe = new AnonymousPipe()) {
      pipe.setSize(4096);
      PassedDescriptor passed = monitor.addDescriptor(pipe.writeFd());
      pipe.closeWrite();
      ByteArrayOutputStream state = new ByteArrayOutputStream();
      ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 16);
      CompletableFuture<Void> saving = saving(monitor, passed);
      assertTrue(pipe.awaitReadable(20_000), "first bytes within 20 s");
      pipe.setSize(1 << 20);
      while (!saving.isDone() || pipe.bytesAvailable() > 0) {
        if (pipe.awaitReadable(1)) {
          buffer.clear();
          if (pipe.read(buffer) < 0) {
            break;
          }
          byte[] some = new byte[buffer.flip().remaining()];
          buffer.get(some);
          state.writeBytes(some);
        }
      }
      saving.get(10, TimeUnit.SECONDS);
      monitor.removeDescriptor(passed);
      return state.toByteArray();
    }
  }

  private static int descriptors(int pid) throws IOException {
    try (var list = Files.list(Path.of("/proc/" + pid + "/fd"))) {
      return (int) list.count();
    }
  }
}
