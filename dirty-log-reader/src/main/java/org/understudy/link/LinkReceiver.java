package org.understudy.link;

import static org.understudy.link.LinkFormat.COMMITTED;
import static org.understudy.link.LinkFormat.EPOCH_END;
import static org.understudy.link.LinkFormat.FAILED;
import static org.understudy.link.LinkFormat.GOODBYE;
import static org.understudy.link.LinkFormat.HEARTBEAT;
import static org.understudy.link.LinkFormat.HELLO;
import static org.understudy.link.LinkFormat.MAX_SENTENCE_BYTES;

import java.io.IOException;
import java.nio.channels.ByteChannel;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import org.understudy.guest.EpochSink;

/**
 * The standby's end of a conversation: hello, then epochs into a sink until the link ends. Runs in
 * the caller's thread; {@code link-heartbeat} says meanwhile that this side lives.
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

    /**
     * Where its epochs go; commit returns when an epoch is durable. An IOException fails the epoch
     * and every later one of this link.
     */
    EpochSink sink();

    /** The primary ends the conversation in an orderly way. */
    void goodbye(Goodbye reason, String sentence);
  }

  private final ByteChannel channel;
  private final FrameReader in;
  private final long heartbeatMs;
  private final LongSupplier clockNs;
  private final FrameWriter out; // guarded by itself
  private volatile long committed;
  private volatile boolean ended;
  private volatile Heartbeat heard = Heartbeat.NONE;
  private boolean failedTold;
  private boolean goodbyeHeard;

  /** Over a blocking channel, which the caller closes. */
  public LinkReceiver(ByteChannel channel, long heartbeatMs, LongSupplier clockNs) {
    this.channel = channel;
    this.heartbeatMs = heartbeatMs;
    this.clockNs = clockNs;
    in = new FrameReader(channel, clockNs);
    out = new FrameWriter(FrameWriter.to(channel, 8 << 10));
  }

  /**
   * Milliseconds spent listening since the primary was last heard; 0 while the sink is busy and
   * nobody listens, {@link Long#MAX_VALUE} when the conversation has ended.
   */
  public long silentMs() {
    return ended ? Long.MAX_VALUE : TimeUnit.NANOSECONDS.toMillis(in.silentNs());
  }

  /** Milliseconds that the sink has kept this side from listening, 0 while it listens. */
  public long busyMs() {
    return ended ? 0 : TimeUnit.NANOSECONDS.toMillis(in.busyNs());
  }

  /** What the primary's last heartbeat said. */
  public Heartbeat heard() {
    return heard;
  }

  /** Bytes read from the link. */
  public long wireBytes() {
    return in.bytesRead();
  }

  /** Unknown optional frames that were skipped. */
  public long skippedFrames() {
    return in.skippedFrames();
  }

  /**
   * Serves the conversation until its end.
   *
   * @throws IOException if the link broke, or a {@link LinkFormatException} if the stream is not
   *     what the format allows; the unfinished epoch is discarded then
   */
  public void serve(Acceptor acceptor) throws IOException {
    try {
      Followed followed;
      Hello hello;
      try {
        hello = readHello();
        followed = acceptor.accept(hello, this);
      } catch (IOException e) {
        reply(new LinkReply(false, 0, String.valueOf(e.getMessage())), e);
        throw e;
      }
      committed = followed.committedEpoch();
      reply(new LinkReply(true, committed, ""), null);
      follow(hello, followed);
    } finally {
      ended = true;
    }
  }

  /** Ends the conversation from another thread. */
  public void abort() throws IOException {
    channel.close();
  }

  private Hello readHello() throws IOException {
    int type = in.next();
    if (type == FrameReader.END_OF_STREAM) {
      throw new IOException("the primary closed the link without a word");
    }
    if (type != HELLO) {
      throw in.refuse(LinkFormat.name(type) + ", expected HELLO");
    }
    return Hello.read(in);
  }

  private void reply(LinkReply reply, IOException cause) throws IOException {
    try {
      synchronized (out) {
        reply.write(out);
      }
    } catch (IOException e) {
      if (cause == null) {
        throw e;
      }
      cause.addSuppressed(e); // what led to the refusal says more
    }
  }

  private void follow(Hello hello, Followed followed) throws IOException {
    FirstFailure sink = new FirstFailure(followed.sink());
    EpochDecoder decoder = new EpochDecoder(in, hello.layout().pages(), committed, sink);
    Thread beating = new Thread(this::beat, "link-heartbeat");
    beating.setDaemon(true);
    beating.start();
    try {
      int type;
      while ((type = decoder.nextFrame()) != FrameReader.END_OF_STREAM) {
        take(type, decoder, sink, followed);
      }
      decoder.frame(type); // refuses the end within an epoch
    } catch (LinkFormatException e) {
      tell(FAILED, 0, String.valueOf(e.getMessage()), e);
      throw e;
    } finally {
      ended = true;
      beating.interrupt();
    }
  }

  private void take(int type, EpochDecoder decoder, FirstFailure sink, Followed followed)
      throws IOException {
    if (type == HEARTBEAT) {
      try {
        heard = Heartbeat.read(in, heard);
      } catch (LinkFormatException e) {
        decoder.abandon(e);
        throw e;
      }
      return;
    }
    if (type == GOODBYE && !goodbyeHeard && !decoder.isOpen()) {
      Goodbye reason = Goodbye.read(in);
      String sentence = in.string("sentence", 0, MAX_SENTENCE_BYTES);
      in.endOfBody();
      goodbyeHeard = true;
      followed.goodbye(reason, sentence);
      return;
    }
    if (goodbyeHeard) {
      throw in.refuse(LinkFormat.name(type) + " after GOODBYE");
    }
    long startedNs = clockNs.getAsLong();
    EpochDecoder.Step step = decoder.frame(type);
    if (sink.failure() != null) {
      if (!failedTold) {
        failedTold = true;
        tell(FAILED, decoder.epoch(), String.valueOf(sink.failure().getMessage()), null);
      }
    } else if (type == EPOCH_END && step == EpochDecoder.Step.COMMITTED) {
      committed = decoder.epoch();
      tellCommitted(clockNs.getAsLong() - startedNs);
    }
  }

  private void tellCommitted(long tookNs) throws IOException {
    synchronized (out) {
      out.begin(COMMITTED, 16).putLong(committed).putLong(Math.max(0, tookNs));
      out.end();
      out.flush();
    }
  }

  private void tell(int type, long epoch, String sentence, IOException cause) throws IOException {
    try {
      synchronized (out) {
        FrameWriter.putString(
            out.begin(type, 10 + MAX_SENTENCE_BYTES).putLong(epoch), sentence, MAX_SENTENCE_BYTES);
        out.end();
        out.flush();
      }
    } catch (IOException e) {
      if (cause == null) {
        throw e;
      }
      cause.addSuppressed(e);
    }
  }

  private void beat() {
    try {
      for (long sequence = 1; !ended; sequence++) {
        synchronized (out) {
          new Heartbeat(sequence, committed, in.busyNs()).write(out);
        }
        Thread.sleep(heartbeatMs);
      }
    } catch (IOException e) {
      // The thread that reads finds the link broken, too, and says so.
    } catch (InterruptedException e) {
      // The conversation has ended.
    }
  }
}
