package org.understudy.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.understudy.testbed.TwoHosts.Host.A;
import static org.understudy.testbed.TwoHosts.Host.B;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Two hosts with a libvirt each; domains on them run, are saved and restored, and leave nothing
 * behind.
 */
@Tag("qemu")
class TwoHostsTest {
  private static final Duration BOOT = Duration.ofMinutes(2);
  private static final Pattern ANY = Pattern.compile("proof (\\d+) ok");

  @BeforeEach
  void needsRootAndLibvirt() {
    assumeTrue(TwoHosts.unavailable().isEmpty(), () -> TwoHosts.unavailable().orElseThrow());
  }

  @Test
  void aDomainIsSavedRestoredAndGoesOnAtTheNextNumber() throws Exception {
    Domain domain =
        Domain.of("proof-1", GuestImages.proof()).memoryMib(192).kernel("proof.size=16 io=direct");
    Path folder;
    int qemu;
    try (TwoHosts hosts = TwoHosts.up()) {
      folder = hosts.folder();
      assertTrue(traces(folder).size() >= 4, "two namespaces and their first processes at least");
      long started = System.nanoTime();
      hosts.start(A, domain);
      SerialLog serial = hosts.serial(A, domain.name());
      serial.await("proof ready", BOOT);
      System.out.printf("domain ready after %d ms%n", (System.nanoTime() - started) / 1_000_000);
      qemu = hosts.qemuPid(A, domain.name());
      serial.awaitPasses(2, BOOT);
      assertEquals("running", hosts.virsh(A, "domstate", domain.name()));
      assertEquals("", hosts.virsh(B, "list", "--all", "--name"));
      assertNotEquals(hosts.exec(A, "hostname").orThrow(), hosts.exec(B, "hostname").orThrow());

      long counter = serial.lastCounter().orElseThrow();
      String image = hosts.outside(A, "proof-1.save").toString();
      hosts.virsh(A, "save", domain.name(), image);
      assertFalse(Files.exists(Path.of("/proc/" + qemu)), "QEMU is gone after virsh save");
      long last = serial.lastCounter().orElseThrow();
      assertTrue(last >= counter);
      long position = serial.position();
      started = System.nanoTime();
      hosts.virsh(A, "restore", image);
      long first = Long.parseLong(serial.await(ANY, position, BOOT).group(1));
      System.out.printf(
          "first line %d ms after virsh restore%n", (System.nanoTime() - started) / 1_000_000);
      assertTrue(first >= last && first <= last + 40, first + " goes on from " + last);
      serial.awaitPasses(2, BOOT);
      qemu = hosts.qemuPid(A, domain.name());
    }
    assertFalse(Files.exists(folder), "folder " + folder);
    assertFalse(Files.exists(Path.of("/proc/" + qemu)), "QEMU " + qemu);
    assertEquals(List.of(), traces(folder));
  }

  @Test
  void aDomainMigratesAliveToTheOtherHostAndShutsDownInAnOrderlyWay() throws Exception {
    Domain domain =
        Domain.of("proof-2", GuestImages.proof()).memoryMib(192).kernel("proof.size=16");
    try (TwoHosts hosts = TwoHosts.up()) {
      hosts.start(A, domain);
      hosts.serial(A, domain.name()).await("proof ready", BOOT);
      long counter = hosts.serial(A, domain.name()).awaitCounterAbove(20, BOOT);
      hosts.virsh(
          A, "migrate", "--live", "--p2p", domain.name(), "qemu+tcp://" + B.address() + "/system");
      assertTrue(hosts.serial(B, domain.name()).awaitCounterAbove(counter, BOOT) > counter);
      hosts.serial(B, domain.name()).awaitPasses(2, BOOT);
      for (TwoHosts.Host host : TwoHosts.Host.values()) {
        hosts.exec(host, "busybox", "ping", "-c", "1", "-W", "5", Domain.GUEST_ADDRESS).orThrow();
      }
      hosts.virsh(B, "shutdown", domain.name());
      long end = System.nanoTime() + BOOT.toNanos();
      while (!hosts.virsh(B, "list", "--name").isEmpty()) {
        assertTrue(System.nanoTime() < end, "the guest ignores its power button");
        Thread.onSpinWait();
      }
    }
  }

  @Test
  void aCutCableLosesPacketsAndTheSecondOneStillWorks() throws Exception {
    try (TwoHosts hosts = TwoHosts.up()) {
      String[] first = {"busybox", "ping", "-c", "1", "-W", "1", B.address()};
      String[] second = {"busybox", "ping", "-c", "1", "-W", "1", B.secondAddress()};
      assertEquals(0, hosts.exec(A, first).status());
      hosts.link("down");
      assertEquals(1, hosts.exec(A, first).status());
      assertEquals(0, hosts.exec(A, second).status());
      hosts.link("up");
      hosts.second("down");
      hosts.exec(A, "busybox", "ping", "-c", "5", "-W", "1", B.address()).orThrow();
      assertEquals(1, hosts.exec(A, second).status());
    }
  }

  @Test
  void redisInADomainAnswersFromBothHosts() throws Exception {
    Domain domain =
        Domain.of("redis-1", GuestImages.redis())
            .memoryMib(256)
            .kernel("redis.size=20 redis.scan=5");
    try (TwoHosts hosts = TwoHosts.up()) {
      hosts.start(B, domain);
      SerialLog serial = hosts.serial(B, domain.name());
      serial.await("redis ready", BOOT);
      serial.awaitPasses(2, BOOT);
      long last = serial.lastCounter().orElseThrow();
      String ask =
          "printf 'GET last\\r\\n' | busybox nc -w 5 " + Domain.GUEST_ADDRESS + " 6379 | head -n 2";
      for (TwoHosts.Host host : TwoHosts.Host.values()) {
        String answer =
            hosts
                .exec(host, "sh", "-c", ask)
                .orThrow()
                .lines()
                .skip(1)
                .findFirst()
                .orElse("nothing");
        assertTrue(Long.parseLong(answer) >= last, answer + " and on the serial port " + last);
      }
    }
  }

  @Test
  void uefiWithVideoAndQemuOfTheBackportsRunUnderLibvirt() throws Exception {
    GuestImages.Found<GuestImages.Qemu> qemu10 = GuestImages.qemu10();
    assumeTrue(qemu10.present(), qemu10.reason());
    Domain uefi =
        Domain.of("proof-3", GuestImages.proof())
            .memoryMib(256)
            .kernel("proof.size=16")
            .withUefi()
            .withVideo();
    Domain newer =
        Domain.of("proof-4", GuestImages.proof())
            .memoryMib(256)
            .vcpus(2)
            .kernel("proof.size=16 net.addr=10.77.0.101/24")
            .machine("pc-q35-10.0", qemu10.value().binary());
    try (TwoHosts hosts = TwoHosts.up()) {
      hosts.start(A, uefi);
      hosts.start(B, newer);
      hosts.serial(A, uefi.name()).await("proof ready", BOOT);
      hosts.serial(B, newer.name()).await("proof ready", BOOT);
      hosts.serial(A, uefi.name()).awaitPasses(2, BOOT);
      hosts.serial(B, newer.name()).awaitPasses(2, BOOT);
      String version =
          hosts.virsh(B, "qemu-monitor-command", "--hmp", newer.name(), "info version");
      assertTrue(version.startsWith("10."), version);
    }
  }

  @Test
  void whatACrashedCallerLeftRunningIsEndedByTheNext() throws Exception {
    Path folder = Files.createTempDirectory("us-hosts");
    Process caller =
        new ProcessBuilder(
                GuestImages.repositoryRoot().resolve("qemu-test-images/two-hosts.sh").toString(),
                "up",
                folder.toString())
            .inheritIO()
            .start();
    assertEquals(0, caller.waitFor());
    List<String> left = traces(folder);
    assertTrue(left.size() >= 4, left.toString());
    int first = Integer.parseInt(Files.readString(folder.resolve("a/anchor")).strip());
    try (TwoHosts hosts = TwoHosts.up(folder)) {
      assertNotEquals(
          first, Integer.parseInt(Files.readString(hosts.outside(A, "anchor")).strip()));
      assertEquals("", hosts.virsh(A, "list", "--all", "--name"));
    }
    assertEquals(List.of(), traces(folder));
  }

  /** What a test bed could leave on the machine: namespaces, their devices, mounts, processes. */
  private static List<String> traces(Path folder) throws Exception {
    String script =
        """
        id=us$(printf %s "$0" | cksum | cut -d ' ' -f 1)
        ip netns list | grep "$id"
        ip -o link | grep -E 'up0|second0|br0|vnet'
        grep -e "$0" -e "$id" /proc/mounts
        ps -eo pid,args | grep -F "$0" | grep -v -e grep -e "printf %s"
        """;
    Process process =
        new ProcessBuilder("sh", "-c", script, folder.toString()).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    process.waitFor();
    return output.lines().toList();
  }
}
