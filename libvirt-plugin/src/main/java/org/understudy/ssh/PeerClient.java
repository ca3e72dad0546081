package org.understudy.ssh;

import java.io.IOException;
import java.net.SocketAddress;
import java.security.PublicKey;
import java.time.Duration;
import java.util.List;
import org.apache.sshd.client.SshClient;
import org.apache.sshd.client.auth.pubkey.UserAuthPublicKeyFactory;
import org.apache.sshd.client.config.hosts.HostConfigEntryResolver;
import org.apache.sshd.client.session.ClientSession;
import org.apache.sshd.common.AttributeRepository;
import org.apache.sshd.common.AttributeRepository.AttributeKey;
import org.apache.sshd.common.SshConstants;
import org.apache.sshd.common.SshException;
import org.apache.sshd.common.config.keys.KeyUtils;
import org.apache.sshd.common.keyprovider.KeyIdentityProvider;
import org.apache.sshd.core.CoreModuleProperties;
import org.understudy.ssh.PeerException.Reason;

/** Opens connections to peers; one for the whole daemon, shared by all threads. */
public final class PeerClient implements AutoCloseable {
  private static final AttributeKey<ShownKey> SHOWN = new AttributeKey<>();

  final SshClient client;
  private final HostIdentity identity;
  private final String ownName;

  /**
   * @param ownName what this host calls itself; the peer sees it in its log
   */
  public PeerClient(HostIdentity identity, String ownName, SshSettings settings) {
    this.identity = identity;
    this.ownName = ownName;
    client = SshClient.setUpDefaultClient();
    settings.applyTo(client);
    client.setKeyExchangeFactories(SshSettings.clientKeyExchanges());
    CoreModuleProperties.HEARTBEAT_INTERVAL.set(client, settings.keepAlive());
    CoreModuleProperties.HEARTBEAT_NO_REPLY_MAX.set(client, SshSettings.KEEP_ALIVES_WITHOUT_ANSWER);
    CoreModuleProperties.IDLE_TIMEOUT.set(client, Duration.ZERO);
    client.setHostConfigEntryResolver(HostConfigEntryResolver.EMPTY);
    client.setKeyIdentityProvider(KeyIdentityProvider.wrapKeyPairs(identity.keys()));
    client.setUserAuthFactories(List.of(UserAuthPublicKeyFactory.INSTANCE));
    client.setServerKeyVerifier(PeerClient::verify);
    client.start();
  }

  /**
   * Connects and proves both sides' identities.
   *
   * @param deadline for all of it
   * @throws PeerException if the peer is unreachable, shows a wrong key or does not trust us
   */
  public PeerConnection connect(TrustedPeer peer, Duration deadline) throws IOException {
    ShownKey shown = new ShownKey(peer.key());
    String where = "%s at %s".formatted(peer.name(), peer.address());
    long endNs = System.nanoTime() + deadline.toNanos();
    ClientSession session = open(peer.address(), where, shown, deadline);
    try {
      session.auth().verify(Duration.ofNanos(Math.max(1, endNs - System.nanoTime())));
      return new PeerConnection(peer, session);
    } catch (IOException e) {
      session.close(true);
      if (shown.key != null && !peer.key().matches(shown.key)) {
        throw new PeerException(Reason.WRONG_KEY, wrongKey(peer, shown), e);
      }
      if (e instanceof SshException ssh
          && ssh.getDisconnectCode()
              == SshConstants.SSH2_DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE) {
        throw new PeerException(
            Reason.NOT_TRUSTED,
            ("%s does not trust this host's key %s; run there: understudy trust %s HOST:PORT"
                    + " --fingerprint %s")
                .formatted(
                    where,
                    identity.publicKey().fingerprint(),
                    ownName,
                    identity.publicKey().fingerprint()),
            e);
      }
      throw unreachable(where, e, deadline);
    }
  }

  /** The key that the host at {@code address} shows, unchecked: for enrolment only. */
  public PeerKey fetchKey(HostPort address, Duration deadline) throws IOException {
    ShownKey shown = new ShownKey(null);
    ClientSession session = open(address, address.toString(), shown, deadline);
    try {
      session.auth().verify(deadline);
    } catch (IOException e) {
      if (shown.key == null) {
        throw unreachable(address.toString(), e, deadline);
      }
    } finally {
      session.close(true);
    }
    return new PeerKey(shown.key);
  }

  @Override
  public void close() {
    client.close(true);
    client.stop();
  }

  private ClientSession open(HostPort address, String where, ShownKey shown, Duration deadline)
      throws PeerException {
    try {
      AttributeRepository context = AttributeRepository.ofKeyValuePair(SHOWN, shown);
      return client
          .connect(ownName, address.host(), address.port(), context, null)
          .verify(deadline)
          .getClientSession();
    } catch (IOException | RuntimeException e) {
      throw unreachable(where, e, deadline);
    }
  }

  private static PeerException unreachable(String where, Exception e, Duration deadline) {
    Throwable root = e;
    while (root.getCause() != null) {
      root = root.getCause();
    }
    String why = root.getMessage() == null ? root.getClass().getSimpleName() : root.getMessage();
    return new PeerException(
        Reason.UNREACHABLE,
        "%s cannot be reached within %d ms: %s".formatted(where, deadline.toMillis(), why),
        e);
  }

  private static String wrongKey(TrustedPeer peer, ShownKey shown) {
    return ("%s at %s shows the key %s, but %s is pinned here: either that host was set up anew"
            + " (then untrust and trust it again), or it is another host")
        .formatted(peer.name(), peer.address(), shown.fingerprint(), peer.key().fingerprint());
  }

  private static boolean verify(ClientSession session, SocketAddress address, PublicKey key) {
    ShownKey shown = session.getConnectionContext().getAttribute(SHOWN);
    shown.key = key;
    return shown.expected != null && shown.expected.matches(key);
  }

  /** What the server showed in one connection's key exchange, and what it should have been. */
  private static final class ShownKey {
    private final PeerKey expected;
    private volatile PublicKey key;

    ShownKey(PeerKey expected) {
      this.expected = expected;
    }

    String fingerprint() {
      return KeyUtils.getFingerPrint(key);
    }
  }
}
