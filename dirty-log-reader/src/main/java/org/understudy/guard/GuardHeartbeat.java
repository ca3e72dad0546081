package org.understudy.guard;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import javax.crypto.Mac;

/** Sends the guard's word to the standby host at a fixed pace, whatever becomes of it. */
final class GuardHeartbeat implements AutoCloseable {
  private final GuardSettings settings;
  private final Mac mac;
  private final DatagramChannel channel;
  private long sequence;
  private long dueNs;
  private long failures;

  GuardHeartbeat(GuardSettings settings, long nowNs) throws IOException {
    this.settings = settings;
    mac = GuardDatagram.mac(settings.keyBytes());
    channel = DatagramChannel.open();
    channel.configureBlocking(false);
    dueNs = nowNs;
  }

  /** Sends if it is time, or at once if {@code news}. */
  void tick(long nowNs, GuestState guest, boolean daemonAlive, boolean news) {
    if (settings.standbyHost().isEmpty() || (!news && nowNs < dueNs)) {
      return;
    }
    dueNs = nowNs + settings.heartbeatMs() * 1_000_000;
    byte[] bytes =
        new GuardDatagram(settings.session(), ++sequence, guest, daemonAlive).encode(mac);
    try {
      InetAddress host = InetAddress.getByName(settings.standbyHost());
      channel.send(ByteBuffer.wrap(bytes), new InetSocketAddress(host, settings.standbyPort()));
    } catch (IOException e) {
      failures++; // no route, or nobody listens yet: the next one may arrive
    }
  }

  /** Milliseconds until the next one is due. */
  long leftMs(long nowNs) {
    return Math.max(0, (dueNs - nowNs) / 1_000_000);
  }

  long sent() {
    return sequence;
  }

  long failures() {
    return failures;
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
