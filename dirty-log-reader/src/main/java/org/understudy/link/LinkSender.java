package org.understudy.link;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.util.function.LongSupplier;
import org.understudy.guest.EpochSink;

/**
 * The primary's end of a conversation. Epochs are written by the thread that calls {@link #sink},
 * which blocks while the link is slow: nothing is queued beyond one buffer. {@code link-receive}
 * reads what the standby says, {@code link-heartbeat} keeps the line alive between frames.
 */
public final class LinkSender implements AutoCloseable {
  private final ByteChannel channel;
  private final FrameWriter out;
  private final FrameReader in;
  private final EpochEncoder encoder;
  private final LongSupplier clockNs;
  private final long standbyEpoch;
  private final Thread receiving;
  private final Heartbeat heartbeat;
  private volatile long heardNs;
  private long acknowledged;
  private long failed;
  private String failure = "";
  private IOException broken;

  /**
   * Says hello and waits for the answer.
   *
   * @param channel blocking; closed with this
   * @param heartbeatMs time between heartbeats
   * @throws IOException with the standby's sentence if it refuses
   */
  public LinkSender(ByteChannel channel, Hello hello, long heartbeatMs, LongSupplier clockNs)
      throws IOException {
    this.channel = channel;
    this.clockNs = clockNs;
    out = new FrameWriter(channel);
    in = new FrameReader(channel);
    encoder = new EpochEncoder(out);
    ByteBuffer payload = ByteBuffer.allocate(LinkFormat.MAX_PAYLOAD_BYTES);
    hello.writeTo(payload);
    out.frame(LinkFormat.HELLO, payload.flip(), null);
    out.flush();
    standbyEpoch = readReply();
    acknowledged = standbyEpoch;
    heardNs = clockNs.getAsLong();
    receiving = new Thread(this::receive, "link-receive");
    receiving.setDaemon(true);
    receiving.start();
    heartbeat = new Heartbeat(out, heartbeatMs);
  }

  private long readReply() throws IOException {
    if (!in.next()) {
      throw new IOException("the standby host closed the link without an answer");
    }
    ByteBuffer reply = in.payload();
    if (in.type() != LinkFormat.HELLO_REPLY || reply.remaining() < 11) {
      throw new LinkFormatException(
          in.frameOffset(), "frame type " + in.type() + " for HELLO_REPLY");
    }
    int answer = reply.get();
    long epoch = reply.getLong();
    String sentence = Strings.get(reply, in.frameOffset());
    if (answer != LinkFormat.ACCEPTS) {
      throw new IOException("the standby host refuses: " + sentence);
    }
    return epoch;
  }

  /** The last epoch that the standby had committed when the link came up, 0 for none. */
  public long standbyEpoch() {
    return standbyEpoch;
  }

  /**
   * Where epochs go. {@code commit} returns when the epoch has left; {@link #awaitAcknowledged}
   * tells when it is durable. An error means that the link is of no more use.
   */
  public EpochSink sink() {
    return encoder;
  }

  /** The last epoch that is durable on the standby. */
  public synchronized long acknowledged() {
    return acknowledged;
  }

  /**
   * Waits until the standby has committed epoch {@code epoch}.
   *
   * @return false if it has not within {@code waitMs}
   * @throws IOException if the link broke or the standby could not store the epoch
   */
  public synchronized boolean awaitAcknowledged(long epoch, long waitMs)
      throws IOException, InterruptedException {
    long deadline = System.nanoTime() + waitMs * 1_000_000;
    while (acknowledged < epoch) {
      if (failed == epoch) {
        throw new IOException("the standby host could not store epoch " + failed + ": " + failure);
      }
      if (broken != null) {
        throw broken;
      }
      long left = (deadline - System.nanoTime() + 999_999) / 1_000_000;
      if (left <= 0) {
        return false;
      }
      wait(left);
    }
    return true;
  }

  /** Whether the link still works, as far as its reader knows. */
  public synchronized boolean isOpen() {
    return broken == null;
  }

  /** Milliseconds since the standby was last heard. */
  public long silentMs() {
    return (clockNs.getAsLong() - heardNs) / 1_000_000;
  }

  /** Bytes written to the link. */
  public long wireBytes() {
    return out.bytes();
  }

  /** Bytes of the pages given, before compression. */
  public long rawBytes() {
    return encoder.rawBytes();
  }

  /** Time spent in writing to the link. */
  public long blockedNs() {
    return out.blockedNs();
  }

  /** Says why the conversation ends; the link is closed by {@link #close}. */
  public void goodbye(Goodbye reason, String sentence) throws IOException {
    ByteBuffer payload = ByteBuffer.allocate(LinkFormat.MAX_STRING_BYTES + 16);
    payload.put((byte) reason.code());
    Strings.put(payload, sentence);
    out.frame(LinkFormat.GOODBYE, payload.flip(), null);
    out.flush();
  }

  private void receive() {
    try {
      while (in.next()) {
        heardNs = clockNs.getAsLong();
        answer(in.type(), in.payload());
      }
      broken(new IOException("the standby host closed the link"));
    } catch (IOException e) {
      broken(new IOException("the link broke: " + e.getMessage(), e));
    } catch (RuntimeException e) {
      broken(new IOException("the link broke: a frame shorter than its fields", e));
    }
  }

  private synchronized void answer(int type, ByteBuffer payload) throws IOException {
    switch (type) {
      case LinkFormat.COMMITTED -> acknowledged = Math.max(acknowledged, payload.getLong());
      case LinkFormat.FAILED -> {
        failed = payload.getLong();
        failure = Strings.get(payload, in.frameOffset());
      }
      case LinkFormat.HEARTBEAT -> {}
      default -> {
        if ((type & LinkFormat.OPTIONAL) == 0) {
          throw new LinkFormatException(in.frameOffset(), "unknown mandatory frame type " + type);
        }
      }
    }
    notifyAll();
  }

  private synchronized void broken(IOException cause) {
    broken = cause;
    notifyAll();
    try {
      channel.close(); // so that a blocked writer ends, too
    } catch (IOException e) {
      cause.addSuppressed(e);
    }
  }

  @Override
  public void close() {
    heartbeat.close();
    broken(new IOException("the link is closed"));
  }
}
