package org.understudy.daemon;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.ssh.HostPort;

class DaemonConfigTest {
  private static final String NO_FENCE = "[fence]\nprovider = none\n";

  @TempDir Path folder;

  @Test
  void whatIsLeftOutHasTheDocumentedDefaults() throws IOException {
    DaemonConfig config = DaemonConfig.read(file(NO_FENCE));
    assertEquals(ConfigFile.kernelHostName(), config.host().name());
    assertEquals(Path.of("/var/lib/understudy"), config.host().stateDir());
    assertEquals(Path.of("/run/understudy/understudyd.sock"), config.host().socket());
    assertEquals(new HostPort("0.0.0.0", 16520), config.host().listen());
    assertEquals(16521, config.host().guardPort());
    assertEquals(Optional.empty(), config.host().guardsElsewhere());
    assertTrue(config.protect().startUnheard());
    assertEquals("qemu:///system", config.libvirtUri());
    assertEquals(1000, config.protect().intervalMs());
    assertEquals("25%", config.protect().fast().toString());
    assertEquals("100%", config.protect().medium().toString());
    assertEquals(128L << 20, config.protect().stagingBytes());
    assertEquals(new DaemonConfig.Timing(500, 200, 1500, true), config.protect().timing());
    assertEquals(Optional.empty(), config.fencing().script());
    assertEquals(Path.of("/var/lib/understudy/tiers"), config.tiersDir());
  }

  @Test
  void everyValueCanBeSet() throws IOException {
    Path script = script();
    DaemonConfig config =
        DaemonConfig.read(
            file(
                """
                ; a comment
                [host]
                name = host-a.example.org
                state-dir = /tmp/s t
                run-dir = /tmp/r
                listen = [::1]:1
                guard-listen = 2
                guard-address = 10.1.2.3
                [libvirt]
                uri = qemu:///embed?root=/tmp/x
                [protect]
                interval-ms = 250
                fast = 512MiB
                medium = 12.5%%
                staging-mib = 64
                pause-deadline-ms = 100
                heartbeat-ms = 50
                silent-after-ms = 400
                auto-failover = no
                start-unheard = refuse
                hold-output = yes
                hold-limit-ms = 800
                hold-mib = 2
                [fence]
                provider = exec
                exec = %s
                timeout-ms = 1234
                [tiers]
                dir = /tmp/t
                """
                    .formatted(script)));
    assertEquals("host-a.example.org", config.host().name());
    assertEquals(Path.of("/tmp/s t"), config.host().stateDir());
    assertEquals(new HostPort("::1", 1), config.host().listen());
    assertEquals(2, config.host().guardPort());
    assertEquals(Optional.of("10.1.2.3"), config.host().guardsElsewhere());
    assertFalse(config.protect().startUnheard());
    assertEquals("qemu:///embed?root=/tmp/x", config.libvirtUri());
    assertEquals(new Budget.Size(512L << 20), config.protect().fast());
    assertEquals(new Budget.Percent(12.5), config.protect().medium());
    assertEquals(new DaemonConfig.Timing(100, 50, 400, false), config.protect().timing());
    assertEquals(new DaemonConfig.Hold(true, 800, 2 << 20), config.protect().hold());
    assertEquals(Optional.of(script), config.fencing().script());
    assertEquals(Duration.ofMillis(1234), config.fencing().timeout());
    assertEquals(Path.of("/tmp/t"), config.tiersDir());
  }

  @Test
  void theSampleFileNamesEveryKeyWithItsDefault() throws IOException {
    Path sample = Path.of(System.getProperty("understudy.root"), "docs", "understudy.conf");
    String text =
        Files.readString(sample).replace("exec = /etc/understudy/fence", "exec = " + script());
    DaemonConfig asItStands = DaemonConfig.read(file(text));
    String spelledOut = text.replaceAll("(?m)^#(?=[a-z-]+ = )", "");
    assertEquals(23, spelledOut.lines().filter(line -> line.matches("[a-z-]+ = .*")).count());
    DaemonConfig full =
        DaemonConfig.read(
            file(spelledOut.replace("name = host-a", "name = " + asItStands.host().name())));
    assertEquals(asItStands, full);
  }

  @Test
  void outputIsNotLetGoBeforeASilenceCouldEndInAFailover() throws IOException {
    String wrong = "[protect]\nsilent-after-ms = 2000\nhold-limit-ms = 3999\n";
    assertWrong(
        wrong + "[fence]\nprovider = none\n",
        "protect.hold-limit-ms is '3999', expected 0 for ever, or at least twice"
            + " protect.silent-after-ms, 4000 ms");
    String forEver = "[protect]\nhold-limit-ms = 0\n[fence]\nprovider = none\n";
    assertEquals(0, DaemonConfig.read(file(forEver)).protect().hold().limitMs());
  }

  @Test
  void eachWrongValueIsOneSentenceWithFileKeyFoundAndExpected() throws IOException {
    assertWrong("", "fence.provider is missing, expected exec (a script) or none (no fence)");
    assertWrong("[fence]\nprovider = maybe\n", "fence.provider is 'maybe', expected exec");
    assertWrong("[fence]\nprovider = exec\n", "fence.exec is missing, expected the path");
    assertWrong(
        "[fence]\nprovider = exec\nexec = /nowhere\n",
        "fence.exec is '/nowhere', expected a file that exists and may be executed");
    assertWrong(
        "[fence]\nprovider = none\nexec = /bin/true\n",
        "fence.exec is '/bin/true', expected nothing");
    assertWrong(NO_FENCE + "timeout-ms = soon\n", "fence.timeout-ms is 'soon', expected a whole");
    assertWrong(host("name = a b"), "host.name is 'a b', expected 1 to 63 letters");
    assertWrong(host("state-dir = here"), "host.state-dir is 'here', expected an absolute path");
    assertWrong(host("listen = 16520"), "host.listen: '16520' is no address, expected host:port");
    assertWrong(host("listen = ::1:16520"), "host.listen: '::1:16520' is no address");
    assertWrong(
        host("guard-listen = 0"), "host.guard-listen is '0', expected a whole number from 1");
    assertWrong(host("run-dir = /" + "x".repeat(100)), "expected at most 88 characters");
    assertWrong(host("nam = a"), "host.nam is unknown (found 'a'), expected one of fence.provider");
    assertWrong(host("name = a\nname = b"), "host.name is '[a, b]', expected");
    assertWrong(host("[strange]\nkey = 1"), "strange.key is unknown (found '1')");
    assertWrong(protect("interval-ms = 5"), "protect.interval-ms is '5', expected a whole number");
    assertWrong(
        protect("interval-ms = 1s"), "protect.interval-ms is '1s', expected a whole number");
    assertWrong(protect("fast = 120%"), "protect.fast: '120%' is no share, expected a percentage");
    assertWrong(protect("fast = ${user}"), "protect.fast: '${user}' is no share");
    assertWrong(
        protect("auto-failover = true"), "protect.auto-failover is 'true', expected yes or no");
    assertWrong(
        protect("heartbeat-ms = 600"),
        "protect.silent-after-ms is missing, expected at least three");
    assertWrong("name = a\n" + NO_FENCE, "has a key before its first [section]");
  }

  @Test
  void aMissingFileNamesItselfAndTheSample() {
    Path missing = folder.resolve("missing.conf");
    IOException e = assertThrows(IOException.class, () -> DaemonConfig.read(missing));
    assertEquals(
        missing + " does not exist; docs/understudy.conf is a sample to start from",
        e.getMessage());
  }

  private void assertWrong(String text, String sentence) throws IOException {
    Path file = file(text);
    IOException e = assertThrows(IOException.class, () -> DaemonConfig.read(file));
    assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
    assertTrue(e.getMessage().contains(sentence), e.getMessage());
    assertFalse(e.getMessage().contains("\n"), e.getMessage());
  }

  private static String host(String lines) {
    return NO_FENCE + "[host]\n" + lines + "\n";
  }

  private static String protect(String lines) {
    return NO_FENCE + "[protect]\n" + lines + "\n";
  }

  private Path file(String text) throws IOException {
    return Files.writeString(folder.resolve("understudy.conf"), text);
  }

  private Path script() throws IOException {
    Path script = Files.writeString(folder.resolve("fence"), "#!/bin/sh\n");
    assertTrue(script.toFile().setExecutable(true));
    return script;
  }
}
