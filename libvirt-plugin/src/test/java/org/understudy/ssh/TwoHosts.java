package org.understudy.ssh;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/** Host "a" (client) and host "b" (server) on loopback, each trusting the other's key. */
final class TwoHosts implements AutoCloseable {
  static final Duration DEADLINE = Duration.ofSeconds(20);

  final Path stateOfA;
  final Path stateOfB;
  final HostIdentity a;
  final HostIdentity b;
  final PeerServer serverOfB;
  final PeerClient clientOfA;

  TwoHosts(Path folder, SshSettings settings, Map<String, ChannelService> services)
      throws IOException {
    stateOfA = Files.createDirectories(folder.resolve("a"));
    stateOfB = Files.createDirectories(folder.resolve("b"));
    a = HostIdentity.loadOrCreate(stateOfA);
    b = HostIdentity.loadOrCreate(stateOfB);
    new TrustedPeers(stateOfB)
        .add(new TrustedPeer("a", new HostPort("127.0.0.1", 9), a.publicKey()));
    serverOfB =
        PeerServer.start(
            b, new TrustedPeers(stateOfB), new HostPort("127.0.0.1", 0), services, settings);
    new TrustedPeers(stateOfA).add(new TrustedPeer("b", addressOfB(), b.publicKey()));
    clientOfA = new PeerClient(a, "a", settings);
  }

  HostPort addressOfB() {
    return new HostPort("127.0.0.1", serverOfB.address().getPort());
  }

  PeerConnection connect() throws IOException {
    return clientOfA.connect(new TrustedPeers(stateOfA).named("b"), DEADLINE);
  }

  @Override
  public void close() throws IOException {
    clientOfA.close();
    serverOfB.close();
  }
}
