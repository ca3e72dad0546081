package org.understudy.ssh;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.channels.ByteChannel;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import org.understudy.json.JsonLines;

/** The asking side of the control protocol, see {@link ControlService}; for many threads. */
public final class ControlClient implements AutoCloseable {
  /** The stream's name. */
  public static final String CHANNEL = "control";

  private final String peer;
  private final JsonLines lines;
  private final AtomicLong lastId = new AtomicLong();
  private final Map<Long, CompletableFuture<ObjectNode>> waiting = new ConcurrentHashMap<>();
  private volatile IOException ended;

  /** Asks over {@code connection}. */
  public static ControlClient open(PeerConnection connection) throws IOException {
    return new ControlClient(connection.openChannel(CHANNEL), connection.peer().name());
  }

  ControlClient(ByteChannel channel, String peer) {
    this.peer = peer;
    this.lines = new JsonLines(channel, peer, JsonLines.LIMIT_BYTES);
    Thread reader = new Thread(this::readAnswers, "control-answers-" + peer);
    reader.setDaemon(true);
    reader.start();
  }

  /**
   * Asks and waits for the answer.
   *
   * @throws ControlException with the peer's sentence if it refused or failed
   * @throws IOException if no answer came in time or the connection broke; whether the peer did it
   *     is unknown then
   */
  public ObjectNode call(String verb, ObjectNode args, Duration deadline) throws IOException {
    long id = lastId.incrementAndGet();
    CompletableFuture<ObjectNode> answer = new CompletableFuture<>();
    waiting.put(id, answer);
    try {
      if (ended != null) {
        throw broken(verb, ended);
      }
      ObjectNode request = JsonLines.object().put("id", id).put("verb", verb);
      request.set("args", args);
      lines.write(request);
      return unwrap(verb, answer.get(deadline.toMillis(), TimeUnit.MILLISECONDS));
    } catch (TimeoutException e) {
      throw new IOException(
          "%s did not answer '%s' within %d ms".formatted(peer, verb, deadline.toMillis()), e);
    } catch (ExecutionException e) {
      throw broken(verb, e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while %s did '%s'".formatted(peer, verb), e);
    } finally {
      waiting.remove(id);
    }
  }

  @Override
  public void close() throws IOException {
    lines.close();
  }

  private ObjectNode unwrap(String verb, ObjectNode answer) throws IOException {
    if (answer.get("reply") instanceof ObjectNode reply) {
      return reply;
    }
    if (answer.hasNonNull("error")) {
      throw new ControlException(peer + ": " + answer.get("error").asText());
    }
    throw new IOException(
        "%s answered '%s' with neither reply nor error: %s".formatted(peer, verb, answer));
  }

  private IOException broken(String verb, Throwable cause) {
    return new IOException(
        "the connection to %s ended before it answered '%s': %s"
            .formatted(peer, verb, cause.getMessage()),
        cause);
  }

  private void readAnswers() {
    IOException end;
    try {
      for (ObjectNode answer = lines.read(); answer != null; answer = lines.read()) {
        CompletableFuture<ObjectNode> asker = waiting.get(answer.path("id").asLong(-1));
        // Nobody waits any more for an answer that came after its deadline.
        if (asker != null) {
          asker.complete(answer);
        }
      }
      end = new IOException("the peer closed the stream");
    } catch (IOException e) {
      end = e;
    }
    ended = end;
    for (CompletableFuture<ObjectNode> asker : waiting.values()) {
      asker.completeExceptionally(end);
    }
  }
}
