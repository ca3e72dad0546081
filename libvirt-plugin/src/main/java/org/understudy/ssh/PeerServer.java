package org.understudy.ssh;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.security.PublicKey;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.sshd.common.AttributeRepository.AttributeKey;
import org.apache.sshd.common.channel.Channel;
import org.apache.sshd.common.channel.ChannelFactory;
import org.apache.sshd.common.config.keys.KeyUtils;
import org.apache.sshd.common.keyprovider.KeyPairProvider;
import org.apache.sshd.common.session.Session;
import org.apache.sshd.core.CoreModuleProperties;
import org.apache.sshd.server.SshServer;
import org.apache.sshd.server.auth.pubkey.UserAuthPublicKeyFactory;
import org.apache.sshd.server.forward.RejectAllForwardingFilter;
import org.apache.sshd.server.session.ServerSession;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where peers connect. Only hosts of the trusted file get in, by public key, and all they can open
 * are the streams registered here: no shell, no command, no file transfer, no forwarding.
 */
public final class PeerServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(PeerServer.class);
  private static final AttributeKey<TrustedPeer> PEER = new AttributeKey<>();

  private final SshServer server;
  private final TrustedPeers trusted;

  private PeerServer(SshServer server, TrustedPeers trusted) {
    this.server = server;
    this.trusted = trusted;
  }

  /**
   * Listens at once.
   *
   * @param listen address and port; port 0 takes a free one, see {@link #address}
   * @param services by channel name, as {@code control} or {@code epochs}
   * @throws IOException with a sentence if the port is taken
   */
  public static PeerServer start(
      HostIdentity identity,
      TrustedPeers trusted,
      HostPort listen,
      Map<String, ChannelService> services,
      SshSettings settings)
      throws IOException {
    SshServer ssh = SshServer.setUpDefaultServer();
    PeerServer server = new PeerServer(ssh, trusted);
    settings.applyTo(ssh);
    ssh.setKeyExchangeFactories(SshSettings.serverKeyExchanges());
    CoreModuleProperties.IDLE_TIMEOUT.set(
        ssh, settings.keepAlive().multipliedBy(2L * SshSettings.KEEP_ALIVES_WITHOUT_ANSWER));
    ssh.setHost(listen.host());
    ssh.setPort(listen.port());
    ssh.setKeyPairProvider(KeyPairProvider.wrap(identity.keys()));
    ssh.setUserAuthFactories(List.of(UserAuthPublicKeyFactory.INSTANCE));
    ssh.setPublickeyAuthenticator(server::admits);
    ssh.setForwardingFilter(RejectAllForwardingFilter.INSTANCE);
    // A keep-alive is answered with "unknown request", which is a sign of life as well.
    ssh.setGlobalRequestHandlers(List.of());
    ssh.setSubsystemFactories(List.of());
    ssh.setShellFactory(null);
    ssh.setCommandFactory(null);
    List<ChannelFactory> channels = new ArrayList<>();
    services.forEach((name, service) -> channels.add(new StreamFactory(name, service)));
    ssh.setChannelFactories(channels);
    try {
      ssh.start();
    } catch (IOException e) {
      ssh.close(true);
      throw new IOException("cannot listen at %s: %s".formatted(listen, e.getMessage()), e);
    }
    return server;
  }

  /** Where it listens. */
  public InetSocketAddress address() {
    return (InetSocketAddress) server.getBoundAddresses().iterator().next();
  }

  /** Stops listening and ends all connections. */
  @Override
  public void close() throws IOException {
    server.stop(true);
  }

  private boolean admits(String userName, PublicKey key, ServerSession session) {
    String shown = KeyUtils.getFingerPrint(key);
    try {
      Optional<TrustedPeer> peer = trusted.withKey(key);
      if (peer.isPresent()) {
        session.setAttribute(PEER, peer.get());
        return true;
      }
      LOG.warn(
          "refused {}, which calls itself '{}': its key {} is not trusted here",
          session.getClientAddress(),
          userName,
          shown);
    } catch (IOException e) {
      LOG.error("refused {} with key {}: {}", session.getClientAddress(), shown, e.getMessage());
    }
    return false;
  }

  private record StreamFactory(String name, ChannelService service) implements ChannelFactory {
    @Override
    public String getName() {
      return SshSettings.channelType(name);
    }

    @Override
    public Channel createChannel(Session session) throws IOException {
      TrustedPeer peer = session.getAttribute(PEER);
      if (peer == null) {
        throw new IOException("the session of %s has no trusted peer".formatted(session));
      }
      return new ServerStreamChannel(name, peer.name(), service);
    }
  }
}
