package org.understudy.guard;

import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetSocketAddress;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import javax.crypto.Mac;

/**
 * The standby's ear for guards: hears, verifies and keeps the last word of each. Datagrams of
 * unknown sessions, with a wrong signature or with a number not above the last one are refused and
 * counted. Has one thread, {@code guard-listen}; its questions may be asked from any thread.
 */
public final class GuardListener implements AutoCloseable {
  private final DatagramSocket socket;
  private final Map<UUID, Session> sessions = new ConcurrentHashMap<>();
  private final AtomicLong refused = new AtomicLong();

  private static final class Session {
    private final Mac mac;
    private volatile GuardWord last;

    Session(Mac mac) {
      this.mac = mac;
    }
  }

  /** Listens at an address; port 0 takes a free one. */
  public GuardListener(InetSocketAddress address) throws IOException {
    socket = new DatagramSocket(address);
    Thread thread = new Thread(this::listen, "guard-listen");
    thread.setDaemon(true);
    thread.start();
  }

  /** The UDP port listened at. */
  public int port() {
    return socket.getLocalPort();
  }

  /**
   * Believes datagrams of a session from now on. Replaces nothing that was heard of it before.
   *
   * @param key the session's key, 32 bytes
   */
  public void expect(UUID session, byte[] key) {
    sessions.putIfAbsent(session, new Session(GuardDatagram.mac(key)));
  }

  /** Believes a session no longer and forgets its last word. */
  public void forget(UUID session) {
    sessions.remove(session);
  }

  /** The last word of a session's guard, if there was any. */
  public Optional<GuardWord> last(UUID session) {
    Session known = sessions.get(session);
    return known == null ? Optional.empty() : Optional.ofNullable(known.last);
  }

  /** Datagrams that were not believed. */
  public long refused() {
    return refused.get();
  }

  @Override
  public void close() {
    socket.close();
  }

  private void listen() {
    byte[] bytes = new byte[GuardDatagram.BYTES + 1]; // one more, to notice longer ones
    DatagramPacket packet = new DatagramPacket(bytes, bytes.length);
    while (!socket.isClosed()) {
      try {
        packet.setLength(bytes.length);
        socket.receive(packet);
      } catch (IOException e) {
        continue; // closed, or an ICMP error of no meaning here
      }
      if (!hear(bytes, packet.getLength())) {
        refused.incrementAndGet();
      }
    }
  }

  private boolean hear(byte[] bytes, int length) {
    Session session =
        GuardDatagram.claimedSession(bytes, length).map(id -> sessions.get(id)).orElse(null);
    if (session == null) {
      return false;
    }
    Optional<GuardDatagram> heard = GuardDatagram.verify(bytes, length, session.mac);
    if (heard.isEmpty()) {
      return false;
    }
    GuardDatagram datagram = heard.get();
    GuardWord last = session.last;
    if (last != null && datagram.sequence() <= last.sequence()) {
      return false;
    }
    session.last =
        new GuardWord(
            datagram.guest(), datagram.daemonAlive(), datagram.sequence(), System.nanoTime());
    return true;
  }
}
