package org.understudy.ssh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.ssh.PeerException.Reason;

@Timeout(120)
class PeerTrustTest {
  private static final ChannelService WHO =
      (peer, channel) -> channel.write(ByteBuffer.wrap(peer.getBytes(StandardCharsets.UTF_8)));

  @TempDir Path folder;

  @Test
  void theServerKnowsTheClientByItsKeyUnderItsOwnNameForIt() throws IOException {
    try (TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("who", WHO));
        PeerConnection connection = hosts.connect();
        ByteChannel channel = connection.openChannel("who")) {
      ByteBuffer name = ByteBuffer.allocate(10);
      while (channel.read(name) >= 0) {}
      assertEquals("a", new String(name.array(), 0, name.position(), StandardCharsets.UTF_8));
    }
  }

  @Test
  void anotherHostKeyThanThePinnedOneIsRefusedWithBothFingerprints() throws IOException {
    HostIdentity other = HostIdentity.loadOrCreate(Files.createDirectory(folder.resolve("other")));
    try (TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("who", WHO))) {
      TrustedPeer pinned = new TrustedPeer("b", hosts.addressOfB(), other.publicKey());
      PeerException e =
          assertThrows(
              PeerException.class, () -> hosts.clientOfA.connect(pinned, TwoHosts.DEADLINE));
      assertEquals(Reason.WRONG_KEY, e.reason());
      assertTrue(e.getMessage().contains(other.publicKey().fingerprint()), e.getMessage());
      assertTrue(e.getMessage().contains(hosts.b.publicKey().fingerprint()), e.getMessage());
    }
  }

  @Test
  void aHostThatThePeerNoLongerTrustsIsRefusedWithTheCommandThatHelps() throws IOException {
    try (TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("who", WHO))) {
      hosts.connect().close();
      new TrustedPeers(hosts.stateOfB).remove("a");
      PeerException e = assertThrows(PeerException.class, hosts::connect);
      assertEquals(Reason.NOT_TRUSTED, e.reason());
      assertTrue(
          e.getMessage()
              .contains(
                  "understudy trust a HOST:PORT --fingerprint "
                      + hosts.a.publicKey().fingerprint()),
          e.getMessage());
    }
  }

  @Test
  void nobodyListeningIsUnreachableAndSoIsSomebodyWhoSaysNothing() throws IOException {
    try (TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("who", WHO))) {
      HostPort gone;
      try (ServerSocket mute = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
        gone = new HostPort("127.0.0.1", mute.getLocalPort());
        TrustedPeer peer = new TrustedPeer("c", gone, hosts.b.publicKey());
        long start = System.nanoTime();
        assertUnreachable(hosts, peer, "within 700 ms");
        assertTrue(System.nanoTime() - start < 5_000_000_000L);
      }
      TrustedPeer peer = new TrustedPeer("c", gone, hosts.b.publicKey());
      assertUnreachable(hosts, peer, "refused");
    }
  }

  @Test
  void aPeerThatStopsAnsweringKeepAlivesIsFound() throws Exception {
    SshSettings quick = new SshSettings(Duration.ofMillis(100), 16L << 30);
    try (TwoHosts hosts = new TwoHosts(folder, quick, Map.of("who", WHO));
        FreezableRelay relay = new FreezableRelay(hosts.addressOfB().port())) {
      TrustedPeer viaRelay =
          new TrustedPeer("b", new HostPort("127.0.0.1", relay.port()), hosts.b.publicKey());
      try (PeerConnection connection = hosts.clientOfA.connect(viaRelay, TwoHosts.DEADLINE)) {
        CountDownLatch gone = new CountDownLatch(1);
        connection.onClose(gone::countDown);
        // Alive as long as something answers, well beyond five keep-alives.
        assertEquals(false, gone.await(1500, TimeUnit.MILLISECONDS));
        relay.freeze();
        assertTrue(gone.await(10, TimeUnit.SECONDS));
      }
    }
  }

  @Test
  void theKeyOfAHostCanBeFetchedForEnrolment() throws IOException {
    try (TwoHosts hosts = new TwoHosts(folder, SshSettings.DEFAULT, Map.of("who", WHO))) {
      PeerKey key = hosts.clientOfA.fetchKey(hosts.addressOfB(), TwoHosts.DEADLINE);
      assertEquals(hosts.b.publicKey().line(), key.line());
    }
  }

  @Test
  void theIdentityIsMadeOnceForItsOwnerOnly() throws Exception {
    HostIdentity made = HostIdentity.loadOrCreate(folder);
    Path file = folder.resolve(HostIdentity.FILE);
    assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
    assertEquals(made.publicKey().line(), HostIdentity.loadOrCreate(folder).publicKey().line());
    assertEquals(made.publicKey().line(), PeerKey.parse(made.publicKey().line()).line());
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r-----"));
    assertSentence("chmod 600", () -> HostIdentity.loadOrCreate(folder));
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-------"));
    Files.writeString(file, "nothing");
    assertSentence(file.toString(), () -> HostIdentity.loadOrCreate(folder));
  }

  @Test
  void opensshReadsTheIdentityAndSeesTheSameFingerprint() throws Exception {
    assumeTrue(Files.isExecutable(Path.of("/usr/bin/ssh-keygen")), "no ssh-keygen here");
    HostIdentity made = HostIdentity.loadOrCreate(folder);
    Process keygen =
        new ProcessBuilder(
                "/usr/bin/ssh-keygen", "-lf", folder.resolve(HostIdentity.FILE).toString())
            .start();
    String shown = new String(keygen.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertTrue(shown.contains(made.publicKey().fingerprint()), shown);
  }

  @Test
  void theTrustedFileRefusesTwoHostsOfOneNameOrOneKeyAndNamesTheLine() throws IOException {
    TrustedPeers trusted = new TrustedPeers(folder);
    HostIdentity a = HostIdentity.loadOrCreate(Files.createDirectory(folder.resolve("a")));
    HostIdentity b = HostIdentity.loadOrCreate(Files.createDirectory(folder.resolve("b")));
    HostPort here = HostPort.parse("[::1]:7");
    trusted.add(new TrustedPeer("a", here, a.publicKey()));
    trusted.add(new TrustedPeer("a", HostPort.parse("h:8"), a.publicKey()));
    assertEquals("h:8", trusted.named("a").address().toString());
    assertSentence("taken", () -> trusted.add(new TrustedPeer("a", here, b.publicKey())));
    assertSentence("already", () -> trusted.add(new TrustedPeer("b", here, a.publicKey())));
    assertSentence("understudy trust c", () -> trusted.named("c"));
    Path file = folder.resolve(TrustedPeers.FILE);
    for (String wrong :
        new String[] {
          "b",
          "b h:8",
          "b h:8 ssh-rsa AAAA",
          "b h:8 ecdsa-sha2-nistp256 AAAA",
          "b h " + b.publicKey().line(),
          "b h:99999 " + b.publicKey().line(),
          "-b h:8 " + b.publicKey().line()
        }) {
      Files.writeString(file, "# comment\n\n" + wrong + "\n");
      assertSentence(file + ", line 3: ", trusted::all);
    }
    Files.writeString(file, "b h:8 " + b.publicKey().line() + " a comment\n");
    assertEquals("b", trusted.withKey(b.keys().getPublic()).orElseThrow().name());
  }

  private static void assertUnreachable(TwoHosts hosts, TrustedPeer peer, String part) {
    PeerException e =
        assertThrows(
            PeerException.class, () -> hosts.clientOfA.connect(peer, Duration.ofMillis(700)));
    assertEquals(Reason.UNREACHABLE, e.reason());
    assertTrue(e.getMessage().contains("c at 127.0.0.1:"), e.getMessage());
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  private static void assertSentence(String part, Executable action) {
    IOException e = assertThrows(IOException.class, action);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }
}
