package org.understudy.ssh;

import java.time.Duration;
import java.util.List;
import org.apache.sshd.client.ClientBuilder;
import org.apache.sshd.common.NamedFactory;
import org.apache.sshd.common.cipher.BuiltinCiphers;
import org.apache.sshd.common.helpers.AbstractFactoryManager;
import org.apache.sshd.common.kex.BuiltinDHFactories;
import org.apache.sshd.common.kex.KeyExchangeFactory;
import org.apache.sshd.common.mac.BuiltinMacs;
import org.apache.sshd.common.signature.BuiltinSignatures;
import org.apache.sshd.core.CoreModuleProperties;
import org.apache.sshd.server.ServerBuilder;

/**
 * What both ends of a connection agree on.
 *
 * @param keepAlive how often the client asks for a sign of life; five without an answer end the
 *     connection, as does a silence of ten on the server's side
 * @param rekeyBytes bytes in one direction after which new keys are agreed on
 */
public record SshSettings(Duration keepAlive, long rekeyBytes) {
  /** Keep-alive every 2 s, new keys every 16 GiB (AES-GCM's own limit is 64 GiB). */
  public static final SshSettings DEFAULT = new SshSettings(Duration.ofSeconds(2), 16L << 30);

  static final int KEEP_ALIVES_WITHOUT_ANSWER = 5;
  static final int PACKET_BYTES = 128 << 10;
  static final int BULK_WINDOW_BYTES = 16 << 20;
  static final int CONTROL_WINDOW_BYTES = 256 << 10;

  /** Prefix of the channel types on the wire, so that nobody takes them for standard ones. */
  private static final String CHANNEL_PREFIX = "understudy-";

  private static final List<BuiltinDHFactories> KEY_EXCHANGES =
      List.of(BuiltinDHFactories.curve25519, BuiltinDHFactories.ecdhp256);

  static String channelType(String name) {
    return CHANNEL_PREFIX + name;
  }

  /** The control channel needs little; everything else moves memory. */
  static int windowBytes(String channelName) {
    return channelName.equals(ControlClient.CHANNEL) ? CONTROL_WINDOW_BYTES : BULK_WINDOW_BYTES;
  }

  void applyTo(AbstractFactoryManager manager) {
    // The default negotiates chacha20-poly1305, at a fifth of the speed.
    manager.setCipherFactories(List.of(BuiltinCiphers.aes128gcm, BuiltinCiphers.aes256gcm));
    // GCM authenticates by itself; the protocol wants a name to be agreed on all the same.
    manager.setMacFactories(List.of(BuiltinMacs.hmacsha256etm));
    manager.setSignatureFactories(List.of(BuiltinSignatures.nistp256));
    CoreModuleProperties.WINDOW_SIZE.set(manager, (long) BULK_WINDOW_BYTES);
    CoreModuleProperties.MAX_PACKET_SIZE.set(manager, (long) PACKET_BYTES);
    CoreModuleProperties.LIMIT_PACKET_SIZE.set(manager, 4L * PACKET_BYTES);
    CoreModuleProperties.NIO2_READ_BUFFER_SIZE.set(manager, 64 << 10);
    CoreModuleProperties.TCP_NODELAY.set(manager, true);
    CoreModuleProperties.SOCKET_KEEPALIVE.set(manager, true);
    CoreModuleProperties.REKEY_BYTES_LIMIT.set(manager, rekeyBytes);
    CoreModuleProperties.CHANNEL_CLOSE_TIMEOUT.set(manager, Duration.ofSeconds(2));
    CoreModuleProperties.DISCONNECT_TIMEOUT.set(manager, Duration.ofSeconds(2));
    CoreModuleProperties.AUTH_TIMEOUT.set(manager, Duration.ofSeconds(20));
  }

  static List<KeyExchangeFactory> clientKeyExchanges() {
    return NamedFactory.setUpTransformedFactories(true, KEY_EXCHANGES, ClientBuilder.DH2KEX);
  }

  static List<KeyExchangeFactory> serverKeyExchanges() {
    return NamedFactory.setUpTransformedFactories(true, KEY_EXCHANGES, ServerBuilder.DH2KEX);
  }
}
