package org.understudy.link;

import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.util.function.LongSupplier;
import org.understudy.guest.EpochSink;

/**
 * The standby's end of a conversation: hello, then epochs into a sink until the link ends. Runs in
 * the caller's thread; {@code link-heartbeat} answers meanwhile.
 */
public final class LinkReceiver {
  /** Decides about a guest that wants to be followed. */
  public interface Acceptor {
    /**
     * Accepts, or refuses by an exception whose message is the sentence that the primary gets.
     *
     * @param hello who asks
     * @param receiver this conversation, for its silence
     */
    Followed accept(Hello hello, LinkReceiver receiver) throws IOException;
  }

  /** A guest that is followed. */
  public interface Followed {
    /** The last committed epoch, 0 for none. */
    long committedEpoch();

    /** Where its epochs go; commit returns when an epoch is durable. */
    EpochSink sink();

    /** The primary ends the conversation in an orderly way. */
    void goodbye(Goodbye reason, String sentence);
  }

  private final ByteChannel channel;
  private final FrameReader in;
  private final FrameWriter out;
  private final long heartbeatMs;
  private final LongSupplier clockNs;
  private volatile long heardNs;
  private volatile boolean busy = true;
  private volatile boolean ended;

  /** Over a blocking channel, which the caller closes. */
  public LinkReceiver(ByteChannel channel, long heartbeatMs, LongSupplier clockNs) {
    this.channel = channel;
    this.heartbeatMs = heartbeatMs;
    this.clockNs = clockNs;
    in = new FrameReader(channel);
    out = new FrameWriter(channel);
    heardNs = clockNs.getAsLong();
  }

  /**
   * Milliseconds since the primary was last heard; 0 while an epoch is being stored and nobody
   * listens, {@link Long#MAX_VALUE} when the conversation has ended.
   */
  public long silentMs() {
    return ended ? Long.MAX_VALUE : busy ? 0 : (clockNs.getAsLong() - heardNs) / 1_000_000;
  }

  /**
   * Serves the conversation until its end.
   *
   * @throws IOException if the link broke or the stream is not what the format allows; the
   *     unfinished epoch is discarded then
   */
  public void serve(Acceptor acceptor) throws IOException {
    try {
      if (!in.next()) {
        throw new IOException("the primary closed the link without a word");
      }
      if (in.type() != LinkFormat.HELLO) {
        throw new LinkFormatException(0, "frame type " + in.type() + " for HELLO");
      }
      Hello hello = readHello();
      Followed followed;
      try {
        followed = acceptor.accept(hello, this);
      } catch (IOException e) {
        reply(LinkFormat.REFUSES, 0, String.valueOf(e.getMessage()));
        throw e;
      }
      reply(LinkFormat.ACCEPTS, followed.committedEpoch(), "");
      follow(hello, followed);
    } finally {
      ended = true;
    }
  }

  private Hello readHello() throws IOException {
    try {
      return Hello.read(in.payload(), 0);
    } catch (BufferUnderflowException e) {
      throw new LinkFormatException(0, "a HELLO shorter than its fields");
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw new LinkFormatException(0, "a HELLO with " + e.getMessage());
    }
  }

  private void follow(Hello hello, Followed followed) throws IOException {
    EpochDecoder decoder =
        new EpochDecoder(in, hello.layout().pages(), followed.committedEpoch(), followed.sink());
    Heartbeat heartbeat = new Heartbeat(out, heartbeatMs);
    try {
      while (nextHeard()) {
        int type = in.type();
        if (type == LinkFormat.GOODBYE) {
          ByteBuffer payload = in.payload();
          Goodbye reason = Goodbye.of(payload.get(), in.frameOffset());
          followed.goodbye(reason, Strings.get(payload, in.frameOffset()));
        } else if (type != LinkFormat.HEARTBEAT) {
          take(decoder);
        }
      }
    } catch (BufferUnderflowException e) {
      throw new LinkFormatException(in.frameOffset(), "frame type " + in.type() + " is too short");
    } finally {
      heartbeat.close();
      decoder.abandon();
    }
  }

  private boolean nextHeard() throws IOException {
    heardNs = clockNs.getAsLong();
    busy = false;
    boolean more = in.next();
    heardNs = clockNs.getAsLong();
    busy = true;
    return more;
  }

  private void take(EpochDecoder decoder) throws IOException {
    if (in.type() < LinkFormat.EPOCH_BEGIN || in.type() > LinkFormat.EPOCH_DISCARD) {
      if ((in.type() & LinkFormat.OPTIONAL) == 0) {
        throw new LinkFormatException(
            in.frameOffset(), "unknown mandatory frame type " + in.type());
      }
      return;
    }
    long started = clockNs.getAsLong();
    long ended = decoder.take();
    if (ended != 0) {
      try {
        decoder.commit(ended);
      } catch (IOException e) {
        say(LinkFormat.FAILED, ended, e.getMessage());
        return;
      }
      ByteBuffer payload = ByteBuffer.allocate(16);
      payload.putLong(ended).putLong(clockNs.getAsLong() - started);
      out.frame(LinkFormat.COMMITTED, payload.flip(), null);
      out.flush();
    }
  }

  private void say(int type, long epoch, String sentence) throws IOException {
    ByteBuffer payload = ByteBuffer.allocate(LinkFormat.MAX_STRING_BYTES + 16);
    payload.putLong(epoch);
    Strings.put(payload, String.valueOf(sentence));
    out.frame(type, payload.flip(), null);
    out.flush();
  }

  private void reply(int answer, long epoch, String sentence) throws IOException {
    ByteBuffer payload = ByteBuffer.allocate(LinkFormat.MAX_STRING_BYTES + 16);
    payload.put((byte) answer).putLong(epoch);
    Strings.put(payload, sentence);
    out.frame(LinkFormat.HELLO_REPLY, payload.flip(), null);
    out.flush();
  }

  /** Ends the conversation from another thread. */
  public void abort() throws IOException {
    channel.close();
  }
}
