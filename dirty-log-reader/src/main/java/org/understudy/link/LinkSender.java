package org.understudy.link;

import static org.understudy.link.LinkFormat.COMMITTED;
import static org.understudy.link.LinkFormat.FAILED;
import static org.understudy.link.LinkFormat.HEARTBEAT;
import static org.understudy.link.LinkFormat.HELLO_REPLY;
import static org.understudy.link.LinkFormat.MAX_SENTENCE_BYTES;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.LongConsumer;
import java.util.function.LongSupplier;
import org.understudy.guest.EpochSink;
import org.understudy.guest.Pages;

/**
 * The primary's end of a conversation. Epochs are encoded by the thread that calls {@link #sink}
 * into a staging of fixed size; {@code link-send} writes them, and heartbeats between them; {@code
 * link-receive} reads what the standby says. When the link is slow the sink's caller waits.
 */
public final class LinkSender implements AutoCloseable {
  private static final int CONTROL_BYTES = LinkFormat.MAX_FRAME_BYTES;

  private final ByteChannel channel;
  private final LinkSettings settings;
  private final LongSupplier clockNs;
  private final FrameReader in;
  private final FrameWriter control; // link-send's own
  private final Staging staging;
  private final FrameWriter frames; // the caller's, into staging
  private final EpochEncoder encoder;
  private final Acknowledgements acknowledgements;
  private final Outgoing sink = new Outgoing();
  private final CompletableFuture<LinkReply> reply = new CompletableFuture<>();
  private final long standbyEpoch;
  private volatile boolean closed;
  private volatile LongConsumer committed = epoch -> {};
  private volatile long wireBytes;
  private volatile long heartbeatsSent;
  private volatile Heartbeat heard = Heartbeat.NONE;

  /** As the other, with {@link LinkSettings#DEFAULT} but for the time between heartbeats. */
  public LinkSender(ByteChannel channel, Hello hello, long heartbeatMs, LongSupplier clockNs)
      throws IOException {
    this(channel, hello, LinkSettings.DEFAULT.withHeartbeatMs(heartbeatMs), clockNs);
  }

  /**
   * Says hello and waits for the answer.
   *
   * @param channel blocking, one thread may read while another writes; closed with this
   * @throws IOException with the standby's sentence if it refuses, or if it does not answer in time
   */
  public LinkSender(ByteChannel channel, Hello hello, LinkSettings settings, LongSupplier clockNs)
      throws IOException {
    this.channel = channel;
    this.settings = settings;
    this.clockNs = clockNs;
    in = new FrameReader(channel, clockNs);
    control = new FrameWriter(FrameWriter.to(channel, CONTROL_BYTES));
    staging = new Staging(settings.chunks(), clockNs);
    frames = new FrameWriter(staging);
    encoder = new EpochEncoder(frames, hello.layout().pages(), EpochEncoder.Compression.LZ4);
    acknowledgements = new Acknowledgements(clockNs);
    start("link-receive", this::receive);
    start("link-send", () -> send(hello));
    standbyEpoch = awaitReply();
  }

  private static void start(String name, Runnable work) {
    Thread thread = new Thread(work, name);
    thread.setDaemon(true);
    thread.start();
  }

  private long awaitReply() throws IOException {
    IOException failed;
    try {
      LinkReply answer = reply.get(settings.helloDeadlineMs(), TimeUnit.MILLISECONDS);
      if (answer.accepted()) {
        return answer.lastCommittedEpoch();
      }
      failed = new IOException("the standby host refuses: " + answer.sentence());
    } catch (TimeoutException e) {
      failed =
          new IOException(
              "the standby host did not answer within " + settings.helloDeadlineMs() + " ms", e);
    } catch (ExecutionException e) {
      failed = new IOException(e.getCause().getMessage(), e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      failed = new InterruptedIOException("interrupted while waiting for the standby host");
    }
    broken(failed);
    throw failed;
  }

  /** The last epoch that the standby had committed when the link came up, 0 for none. */
  public long standbyEpoch() {
    return standbyEpoch;
  }

  /**
   * Where epochs go; for one thread. {@code commit} returns when the epoch is on its way; {@link
   * #awaitAcknowledged} tells when it is durable. An IOException means that the link broke or that
   * the standby could not store an epoch; then no later epoch can be sent on this link.
   */
  public EpochSink sink() {
    return sink;
  }

  /**
   * Who hears of each epoch at the moment when it is known to be durable on the standby, in the
   * thread {@code link-receive}; must not wait.
   */
  public void onCommitted(LongConsumer listener) {
    committed = listener;
  }

  /** The last epoch that is durable on the standby. */
  public long acknowledged() {
    return acknowledgements.acknowledged();
  }

  /**
   * Waits until the standby has committed epoch {@code epoch}.
   *
   * @return false if it has not within {@code waitMs}
   * @throws IOException if the link broke or the standby could not store this epoch or one before
   */
  public boolean awaitAcknowledged(long epoch, long waitMs)
      throws IOException, InterruptedException {
    return acknowledgements.await(epoch, waitMs);
  }

  /** Whether epochs can still be sent, as far as this side knows. */
  public boolean isOpen() {
    return !acknowledgements.isFailed();
  }

  /** Milliseconds spent listening since the standby was last heard. */
  public long silentMs() {
    return TimeUnit.NANOSECONDS.toMillis(in.silentNs());
  }

  /** Milliseconds since the oldest unacknowledged epoch began, 0 if there is none. */
  public long lagMs() {
    return TimeUnit.NANOSECONDS.toMillis(acknowledgements.lagNs());
  }

  /** Number of epochs sent whole whose commit is not acknowledged. */
  public int unacknowledgedEpochs() {
    return acknowledgements.waiting();
  }

  /** Nanoseconds that the standby took to make the last acknowledged epoch durable. */
  public long durableNs() {
    return acknowledgements.durableNs();
  }

  /** What the standby's last heartbeat said. */
  public Heartbeat heard() {
    return heard;
  }

  /** Bytes written to the link. */
  public long wireBytes() {
    return wireBytes;
  }

  /** Bytes of the pages given, before compression, zero pages included. */
  public long rawBytes() {
    return (encoder.rawPages() + encoder.lz4Pages() + encoder.zeroPages()) << Pages.SHIFT;
  }

  /** Nanoseconds that the sink's caller had to wait for the link. */
  public long blockedNs() {
    return staging.blockedNs();
  }

  /** Heartbeats sent. */
  public long heartbeatsSent() {
    return heartbeatsSent;
  }

  /**
   * Says why the conversation ends, and returns when that has been written; the link is closed by
   * {@link #close}. For the sink's thread, between epochs.
   */
  public void goodbye(Goodbye reason, String sentence) throws IOException {
    if (encoder.isOpen()) {
      throw new IllegalStateException("goodbye within an epoch");
    }
    reason.write(frames, sentence);
    try {
      if (!staging.awaitWritten(settings.helloDeadlineMs())) {
        throw new IOException(
            "goodbye could not be written within " + settings.helloDeadlineMs() + " ms");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw (IOException) new InterruptedIOException("interrupted in goodbye").initCause(e);
    }
  }

  @SuppressWarnings("NonAtomicVolatileUpdate") // written by link-send alone
  private void send(Hello hello) {
    IOException end = new IOException("the link ended before it was accepted");
    try {
      hello.write(control);
      if (!reply.handle((answer, failed) -> failed == null && answer.accepted()).join()) {
        return;
      }
      long dueNs = clockNs.getAsLong();
      while (true) {
        ByteBuffer chunk = staging.next(dueNs);
        if (clockNs.getAsLong() - dueNs >= 0) {
          new Heartbeat(heartbeatsSent + 1, acknowledged(), acknowledgements.lagNs())
              .write(control);
          heartbeatsSent++;
          dueNs = clockNs.getAsLong() + settings.heartbeatNs();
        }
        if (chunk != null) {
          int bytes = chunk.remaining();
          FrameWriter.writeFully(channel, chunk);
          wireBytes += bytes;
          staging.written(chunk);
        }
      }
    } catch (IOException e) {
      end = new IOException("the link broke: " + e.getMessage(), e);
    } finally {
      broken(end);
    }
  }

  private void receive() {
    IOException end = new IOException("the thread link-receive ended");
    try {
      int type = in.next();
      if (type == HELLO_REPLY) {
        LinkReply answer = LinkReply.read(in);
        acknowledgements.start(answer.lastCommittedEpoch());
        reply.complete(answer);
        type = in.next();
      }
      while (type != FrameReader.END_OF_STREAM) {
        answer(type);
        type = in.next();
      }
      end = new IOException("the standby host closed the link");
    } catch (IOException e) {
      end = new IOException("the link broke: " + e.getMessage(), e);
    } finally {
      broken(end);
    }
  }

  private void answer(int type) throws IOException {
    String wrong = null;
    switch (type) {
      case COMMITTED -> {
        long epoch = in.i64("epoch");
        long tookNs = in.i64("duration");
        in.endOfBody();
        wrong = acknowledgements.committed(epoch, tookNs);
        if (wrong == null) {
          committed.accept(epoch);
        }
      }
      case FAILED -> {
        long epoch = in.i64("epoch");
        String sentence = in.string("sentence", 0, MAX_SENTENCE_BYTES);
        in.endOfBody();
        wrong = acknowledgements.failed(epoch, sentence);
      }
      case HEARTBEAT -> heard = Heartbeat.read(in, heard);
      default ->
          wrong =
              LinkFormat.name(type)
                  + (reply.isDone() ? " from the standby" : ", expected HELLO_REPLY");
    }
    if (wrong == null && !reply.isDone()) {
      wrong = LinkFormat.name(type) + ", expected HELLO_REPLY";
    }
    if (wrong != null) {
      throw in.refuse(wrong);
    }
  }

  /** Nothing works from now on; the first cause is what everybody gets. */
  private void broken(IOException cause) {
    acknowledgements.fail(cause);
    staging.fail(cause);
    reply.completeExceptionally(cause);
    if (!closed) {
      closed = true;
      try {
        channel.close(); // so that the other thread ends, too
      } catch (IOException e) {
        cause.addSuppressed(e);
      }
    }
  }

  @Override
  public void close() {
    broken(new IOException("the link is closed"));
  }

  /** The encoder, and what is kept about each epoch. */
  private final class Outgoing implements EpochSink {
    @Override
    public void begin(long epoch) throws IOException {
      acknowledgements.begin(epoch);
      encoder.begin(epoch);
    }

    @Override
    public void page(int page, ByteBuffer content) throws IOException {
      acknowledgements.check();
      encoder.page(page, content);
    }

    @Override
    public void zeroPage(int page) throws IOException {
      acknowledgements.check();
      encoder.zeroPage(page);
    }

    @Override
    public void deviceState(ByteBuffer state) throws IOException {
      acknowledgements.check();
      encoder.deviceState(state);
    }

    @Override
    public void commit() throws IOException {
      acknowledgements.end();
      encoder.commit();
    }

    @Override
    public void discard() throws IOException {
      acknowledgements.discard();
      encoder.discard();
    }
  }
}
