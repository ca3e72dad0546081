package org.understudy.dirtylog;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.RamBlock;
import org.understudy.linux.ProcessMaps;

/** Into a real QEMU in its seccomp sandbox, without privileges, running firmware. */
@Tag("qemu")
class QemuInjectionTest {
  private static final String BINARY = "qemu-system-x86_64";
  private static final int KILLS_PER_STEP = Integer.getInteger("understudy.kills", 1);
  private static final int RAM_BYTES = 192 << 20;

  @TempDir(cleanup = org.junit.jupiter.api.io.CleanupMode.NEVER)
  Path folder;

  private Process qemu;

  @BeforeEach
  void startQemu() throws Exception {
    assumeTrue(Files.isExecutable(Path.of("/usr/bin", BINARY)), "no " + BINARY);
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxrwxrwx"));
    qemu =
        new ProcessBuilder(
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                BINARY,
                "-accel",
                "tcg",
                "-m",
                "192M",
                "-display",
                "none",
                "-nodefaults",
                "-vga",
                "std",
                "-sandbox",
                "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
                "-qmp",
                "unix:" + folder.resolve("qmp") + ",server=on,wait=off")
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("log").toFile())
            .start();
    long deadlineNs = System.nanoTime() + 30_000_000_000L;
    while (!Files.exists(folder.resolve("qmp"))) {
      assertTrue(qemu.isAlive() && System.nanoTime() < deadlineNs, "QEMU does not start");
      Thread.onSpinWait();
    }
    assertRuns();
  }

  @AfterEach
  void endQemu() throws Exception {
    if (qemu != null) {
      qemu.destroyForcibly().waitFor();
    }
  }

  private void assertRuns() throws IOException {
    assertTrue(qemu.isAlive(), () -> "QEMU has ended with " + qemu.exitValue() + ": " + log());
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(folder.resolve("qmp")));
      String commands = "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"query-status\"}";
      channel.write(ByteBuffer.wrap(commands.getBytes(StandardCharsets.UTF_8)));
      StringBuilder answer = new StringBuilder();
      ByteBuffer buffer = ByteBuffer.allocate(4096);
      while (answer.indexOf("\"status\"") < 0) {
        assertTrue(channel.read(buffer.clear()) > 0, "QMP has ended: " + answer);
        answer.append(StandardCharsets.UTF_8.decode(buffer.flip()));
      }
      assertTrue(answer.indexOf("\"status\": \"running\"") > 0, answer.toString());
    }
  }

  private String log() {
    try {
      return Files.readString(folder.resolve("log"));
    } catch (IOException e) {
      return e.toString();
    }
  }

  private int pid() {
    return (int) qemu.pid();
  }

  static List<String> faults() {
    return InjectionTest.faults();
  }

  @ParameterizedTest
  @MethodSource("faults")
  void qemuSurvivesTheInjectorsDeathAndAnswersQmp(String fault) throws Exception {
    Set<String> descriptors = userfaultfds();
    for (int i = 0; i < (fault.endsWith(".kill") ? KILLS_PER_STEP : 1); i++) {
      assertThrows(IOException.class, () -> new Injector(pid(), fault).obtain());
      assertRuns();
    }
    new Injector(pid(), "").obtain().close();
    assertEquals(descriptors, userfaultfds());
    assertRuns();
  }

  @Test
  void firmwareWritesAreSeenAndOpeningHoldsQemuForLessThanTheLimit() throws Exception {
    GuestMapping mapping = ram();
    try (PagemapScanLog log = new PagemapScanLog(mapping, new Injector(pid(), ""))) {
      System.out.printf("QEMU held for %d us and %d us%n", log.stopsUs()[0], log.stopsUs()[1]);
      PageSet written = new PageSet(mapping.layout().pages());
      log.rearm(written);
      assertEquals(mapping.layout().pages(), written.count());
      assertRuns();
      written.clear();
      log.rearm(written);
      System.out.println("written by idle firmware: " + written);
      assertTrue(written.count() < mapping.layout().pages() / 2, written::toString);
      assertEquals(Set.of(), userfaultfds());
    }
    assertRuns();
  }

  private Set<String> userfaultfds() throws IOException {
    Set<String> all = Target.descriptors(pid());
    all.removeIf(each -> !each.contains("userfaultfd"));
    return all;
  }

  /** Guest RAM is the one mapping of its size. */
  private GuestMapping ram() throws IOException {
    for (ProcessMaps.Mapping map : ProcessMaps.of(pid())) {
      if (map.end() - map.start() >= RAM_BYTES && map.permissions().startsWith("rw")) {
        return new GuestMapping(
            pid(),
            new GuestLayout(List.of(new RamBlock("pc.ram", RAM_BYTES))),
            new long[] {map.start()});
      }
    }
    throw new IOException("no mapping of " + RAM_BYTES + " bytes");
  }
}
