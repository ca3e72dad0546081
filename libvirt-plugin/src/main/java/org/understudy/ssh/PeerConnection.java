package org.understudy.ssh;

import java.io.IOException;
import java.nio.channels.ByteChannel;
import java.time.Duration;
import org.apache.sshd.client.session.ClientSession;
import org.apache.sshd.common.channel.exception.SshChannelOpenException;
import org.apache.sshd.common.session.ConnectionService;

/** A connection to a peer whose identity is proven. */
public final class PeerConnection implements AutoCloseable {
  private static final Duration OPEN_DEADLINE = Duration.ofSeconds(10);
  private static final long CLOSE_DEADLINE_MS = 2_000;

  private final TrustedPeer peer;
  private final ClientSession session;

  PeerConnection(TrustedPeer peer, ClientSession session) {
    this.peer = peer;
    this.session = session;
  }

  public TrustedPeer peer() {
    return peer;
  }

  /** False once the connection is gone, found by the socket or by missing keep-alive answers. */
  public boolean isOpen() {
    return session.isOpen();
  }

  /** Runs {@code action} once when the connection is gone, at once if it already is. */
  public void onClose(Runnable action) {
    session.addCloseFutureListener(future -> action.run());
  }

  /**
   * Opens the stream {@code name}: blocking, with back-pressure from the peer's reader to our
   * writer. Reading returns -1 after the peer closed the stream and throws if the connection broke.
   *
   * @throws IOException with a sentence if the peer serves no such stream
   */
  public ByteChannel openChannel(String name) throws IOException {
    ClientStreamChannel channel = new ClientStreamChannel(name, peer.name());
    try {
      session.getService(ConnectionService.class).registerChannel(channel);
      channel.open().verify(OPEN_DEADLINE);
      return channel.stream();
    } catch (IOException | RuntimeException e) {
      channel.close(true);
      Throwable cause = e.getCause() == null ? e : e.getCause();
      String why =
          cause instanceof SshChannelOpenException refused
              ? refused.getMessage()
              : cause.toString();
      throw new IOException(
          "%s at %s did not open the stream '%s': %s"
              .formatted(peer.name(), peer.address(), name, why),
          e);
    }
  }

  /** What was written is sent, then the connection ends. */
  @Override
  public void close() throws IOException {
    if (!session.close(false).await(CLOSE_DEADLINE_MS)) {
      session.close(true);
    }
  }
}
