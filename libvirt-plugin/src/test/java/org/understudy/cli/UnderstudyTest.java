package org.understudy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.daemon.LocalServer;
import org.understudy.daemon.LocalVerb;
import org.understudy.ssh.HostIdentity;
import org.understudy.ssh.HostPort;
import org.understudy.ssh.PeerServer;
import org.understudy.ssh.SshSettings;
import org.understudy.ssh.TrustedPeers;

@Timeout(120)
@SuppressWarnings("try") // a server that is only there
class UnderstudyTest {
  @TempDir Path folder;

  private String out = "";
  private String err = "";

  @Test
  void everyDaemonVerbSendsItsRequestWithWhatWasGiven() throws IOException {
    Map<String, String> expected = new TreeMap<>();
    expected.put(
        "protect web --standby b --interval 200ms --fast 512MiB",
        "{'domain':'web','standby':'b','intervalMs':200,'fast':'512MiB'}");
    expected.put(
        "protect web --standby b --interval 1.5s",
        "{'domain':'web','standby':'b','intervalMs':1500}");
    expected.put("protect web --standby=b", "{'domain':'web','standby':'b'}");
    expected.put("unprotect web", "{'domain':'web','force':false}");
    expected.put("list", "{}");
    expected.put("status", "{'json':false}");
    expected.put("status web --json", "{'domain':'web','json':true}");
    expected.put("failover web", "{'domain':'web','force':false}");
    expected.put("failover --force web", "{'domain':'web','force':true}");
    expected.put("switchover web", "{'domain':'web'}");
    expected.put("events", "{'follow':false}");
    expected.put("events --follow", "{'follow':true}");
    expected.put("doctor", "{}");
    expected.put("doctor web --standby b", "{'domain':'web','standby':'b'}");
    Map<String, LocalVerb> verbs = new TreeMap<>();
    for (String words : expected.keySet()) {
      String verb = words.split(" ", 2)[0];
      verbs.put(verb, (args, reply) -> reply.out(verb + " " + args));
    }
    Path config = config("a", 0);
    try (LocalServer server = LocalServer.start(folder.resolve("a/run/understudyd.sock"), verbs)) {
      for (Map.Entry<String, String> request : expected.entrySet()) {
        List<String> words = new ArrayList<>(List.of(request.getKey().split(" ")));
        words.addAll(List.of("--config", config.toString()));
        assertEquals(0, run(words.toArray(new String[0])), err);
        assertEquals(words.get(0) + " " + request.getValue().replace('\'', '"') + "\n", out);
      }
    }
    assertEquals(1, run("--config", config.toString(), "list"));
    assertTrue(err.startsWith("error: understudyd is not running (no answer at "), err);
  }

  @Test
  void whatCannotBeUnderstoodIsExitOneWithASentence() throws IOException {
    String config = config("a", 0).toString();
    assertInvalid("Unmatched argument", "dance");
    assertInvalid("Missing required option: '--standby=HOST'", "protect", "web");
    assertInvalid("Missing required parameter: 'DOMAIN'", "failover");
    assertInvalid("'5' is no interval", "protect", "w", "--standby", "b", "--interval", "5");
    assertInvalid("'0ms' is no interval", "protect", "w", "--standby", "b", "--interval", "0ms");
    assertEquals(1, run("--config", config, "protect", "w", "--standby", "b", "--fast", "200%"));
    assertTrue(err.contains("error: '200%' is no share"), err);
    assertEquals(1, run("--config", "/nowhere/x.conf", "list"));
    assertTrue(err.contains("error: /nowhere/x.conf does not exist"), err);
    assertEquals(1, run());
  }

  @Test
  void everyVerbExplainsItself() {
    assertEquals(0, run("--help"), err);
    String all = out;
    for (String verb :
        List.of(
            "protect",
            "unprotect",
            "list",
            "status",
            "failover",
            "switchover",
            "events",
            "doctor",
            "identity",
            "trust",
            "trusted",
            "untrust",
            "version")) {
      assertTrue(all.contains("\n  " + verb + " "), all);
      assertEquals(0, run(verb, "--help"), err);
      assertTrue(out.startsWith("Usage: understudy " + verb), out);
    }
    assertEquals(0, run("version"));
    assertTrue(out.startsWith("understudy "), out);
  }

  @Test
  void twoHostsEnrolEachOtherByFingerprintOrKey() throws IOException {
    HostIdentity b = HostIdentity.loadOrCreate(folder.resolve("b/state"));
    String fingerprintOfB = b.publicKey().fingerprint();
    try (PeerServer server =
        PeerServer.start(
            b,
            new TrustedPeers(folder.resolve("b/state")),
            new HostPort("127.0.0.1", 0),
            Map.of("control", (peer, channel) -> {}),
            SshSettings.DEFAULT)) {
      int port = server.address().getPort();
      String config = config("a", port).toString();
      String where = "127.0.0.1:" + port;
      assertEquals(0, run("--config", config, "identity"), err);
      String keyOfA = out.lines().findFirst().orElseThrow().replaceFirst("key +", "");

      assertEquals(1, run("--config", config, "trust", "b", where));
      assertTrue(err.contains(fingerprintOfB), err);
      String wrong = "SHA256:AAAA";
      assertEquals(1, run("--config", config, "trust", "b", where, "--fingerprint", wrong));
      assertTrue(err.contains("has the key " + fingerprintOfB + ", expected " + wrong), err);
      assertEquals(0, run("--config", config, "trusted"));
      assertFalse(out.contains(fingerprintOfB), out);

      assertEquals(
          0, run("--config", config, "trust", "b", where, "--fingerprint", fingerprintOfB), err);
      assertEquals(0, run("--config", config, "trusted"));
      assertEquals(
          List.of("Name", "Address", "Fingerprint", "b", where, fingerprintOfB),
          List.of(out.strip().split("\\s+")));
      assertEquals(0, run("--config", config, "untrust", "b"), err);
      assertEquals(1, run("--config", config, "untrust", "b"));
      assertEquals(0, run("--config", config, "trust", "b", where, "--yes"), err);

      assertEquals(1, run("--config", config, "trust", "me", "h:1", "--key", keyOfA));
      assertTrue(err.contains("this host's own key"), err);
      String configOfB = config("b", port).toString();
      assertEquals(0, run("--config", configOfB, "trust", "a", "h:1", "--key", keyOfA), err);
      assertEquals(1, run("--config", configOfB, "trust", "c", "h:1", "--key", "ssh-rsa AAAA"));
      assertTrue(err.contains("'ssh-rsa AAAA' is no host key"), err);
    }
  }

  private void assertInvalid(String part, String... args) {
    assertEquals(1, run(args));
    assertTrue(err.contains(part), err);
    assertEquals("", out);
  }

  private int run(String... args) {
    ByteArrayOutputStream outBytes = new ByteArrayOutputStream();
    ByteArrayOutputStream errBytes = new ByteArrayOutputStream();
    int exit =
        Understudy.run(
            new PrintStream(outBytes, true, StandardCharsets.UTF_8),
            new PrintStream(errBytes, true, StandardCharsets.UTF_8),
            args);
    out = outBytes.toString(StandardCharsets.UTF_8);
    err = errBytes.toString(StandardCharsets.UTF_8);
    return exit;
  }

  private Path config(String host, int port) throws IOException {
    Path home = Files.createDirectories(folder.resolve(host));
    return Files.writeString(
        home.resolve("understudy.conf"),
        "[host]\nname = %s\nstate-dir = %s/state\nrun-dir = %s/run\nlisten = 127.0.0.1:%d\n[fence]\nprovider = none\n"
            .formatted(host, home, home, port));
  }
}
