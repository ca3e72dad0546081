package org.understudy.testbed;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.Closeable;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;

/**
 * One QMP connection over a UNIX socket, for tests. A thread of its own reads replies and events,
 * so several threads may execute commands at once (QEMU answers in-band commands in order). It
 * cannot pass descriptors: the JDK's channels have no ancillary data, so who needs {@code add-fd}
 * opens a socket of its own with sendmsg.
 */
public final class Qmp implements Closeable {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final SocketChannel channel;
  private final BufferedReader lines;
  private final JsonNode greeting;
  private final AtomicLong lastId = new AtomicLong();
  private final Map<Long, CompletableFuture<JsonNode>> pending = new ConcurrentHashMap<>();
  private final BlockingQueue<JsonNode> events = new LinkedBlockingQueue<>();
  private final Thread reader;
  private volatile String closedBecause;

  private Qmp(Path socket, boolean outOfBand) throws IOException {
    channel = SocketChannel.open(StandardProtocolFamily.UNIX);
    try {
      channel.connect(UnixDomainSocketAddress.of(socket));
      lines = new BufferedReader(Channels.newReader(channel, StandardCharsets.UTF_8));
      greeting = JSON.readTree(lines.readLine()).path("QMP");
    } catch (IOException | RuntimeException failure) {
      channel.close();
      throw failure;
    }
    reader = new Thread(this::read, "qmp-" + socket.getFileName());
    reader.setDaemon(true);
    reader.start();
    if (outOfBand) {
      execute("qmp_capabilities", Map.of("enable", new String[] {"oob"}));
    } else {
      execute("qmp_capabilities", Map.of());
    }
  }

  /** Connects and negotiates; fails when nobody listens at {@code socket}. */
  public static Qmp connect(Path socket) throws IOException {
    return new Qmp(socket, false);
  }

  /** As {@link #connect}, with the capability {@code oob}. */
  public static Qmp connectOutOfBand(Path socket) throws IOException {
    return new Qmp(socket, true);
  }

  /** QEMU's greeting: {@code version} and {@code capabilities}. */
  public JsonNode greeting() {
    return greeting;
  }

  /** Executes a command without arguments; see {@link #execute(String, Map)}. */
  public JsonNode execute(String command) throws IOException {
    return execute(command, Map.of());
  }

  /**
   * Executes a command and waits up to 60 s for its answer.
   *
   * @return what QEMU returned, an empty object for most commands
   * @throws QmpException QEMU refused it
   * @throws IOException the connection ended, or no answer came in time
   */
  public JsonNode execute(String command, Map<String, ?> arguments) throws IOException {
    return await(command, submit("execute", command, arguments), Duration.ofSeconds(60));
  }

  /** Sends a command as {@code exec-oob} on a connection made by {@link #connectOutOfBand}. */
  public JsonNode executeOutOfBand(String command, Map<String, ?> arguments) throws IOException {
    return await(command, submit("exec-oob", command, arguments), Duration.ofSeconds(60));
  }

  /** Sends a command and does not wait; the future ends with the whole reply, errors included. */
  public CompletableFuture<JsonNode> submit(String verb, String command, Map<String, ?> arguments)
      throws IOException {
    long id = lastId.incrementAndGet();
    ObjectNode request = JSON.createObjectNode().put(verb, command).put("id", id);
    if (!arguments.isEmpty()) {
      request.set("arguments", JSON.valueToTree(arguments));
    }
    CompletableFuture<JsonNode> reply = new CompletableFuture<>();
    pending.put(id, reply);
    if (closedBecause != null) {
      throw new IOException(command + ": the QMP connection is closed: " + closedBecause);
    }
    ByteBuffer bytes = ByteBuffer.wrap((request + "\n").getBytes(StandardCharsets.UTF_8));
    synchronized (channel) {
      while (bytes.hasRemaining()) {
        channel.write(bytes);
      }
    }
    return reply;
  }

  /** Executes a line of the human monitor and returns what it prints, with LF line ends. */
  public String hmp(String line) throws IOException {
    return execute("human-monitor-command", Map.of("command-line", line))
        .asText()
        .replace("\r\n", "\n");
  }

  /** The guest's run state, such as {@code running}, {@code paused} or {@code inmigrate}. */
  public String runState() throws IOException {
    return execute("query-status").path("status").asText();
  }

  /**
   * Takes events off the queue until one is called {@code name}.
   *
   * @return the event with its {@code data} and {@code timestamp}
   * @throws TimeoutException none came before the deadline
   */
  public JsonNode awaitEvent(String name, Duration deadline)
      throws TimeoutException, InterruptedException {
    long end = System.nanoTime() + deadline.toNanos();
    while (true) {
      JsonNode event = events.poll(Math.max(0, end - System.nanoTime()), TimeUnit.NANOSECONDS);
      if (event == null) {
        throw new TimeoutException(
            "no QMP event " + name + " within " + deadline.toMillis() + " ms");
      }
      if (event.path("event").asText().equals(name)) {
        return event;
      }
    }
  }

  /** The events that nobody has taken yet, in QEMU's order. */
  public BlockingQueue<JsonNode> events() {
    return events;
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }

  private static JsonNode await(
      String command, CompletableFuture<JsonNode> future, Duration deadline) throws IOException {
    try {
      JsonNode reply = future.get(deadline.toMillis(), TimeUnit.MILLISECONDS);
      JsonNode error = reply.get("error");
      if (error != null) {
        throw new QmpException(command, error.path("class").asText(), error.path("desc").asText());
      }
      return reply.path("return");
    } catch (TimeoutException timeout) {
      throw new IOException(command + ": no answer within " + deadline.toMillis() + " ms", timeout);
    } catch (ExecutionException failure) {
      throw new IOException(command + ": " + failure.getCause().getMessage(), failure.getCause());
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw new IOException(command + ": interrupted", interrupted);
    }
  }

  private void read() {
    String reason = "QEMU closed it";
    try {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        JsonNode message = JSON.readTree(line);
        if (message.has("event")) {
          events.add(message);
        } else {
          CompletableFuture<JsonNode> reply = pending.remove(message.path("id").asLong());
          if (reply != null) {
            reply.complete(message);
          }
        }
      }
    } catch (IOException failure) {
      reason = failure.toString();
    }
    closedBecause = reason;
    IOException failure = new IOException("the QMP connection is closed: " + reason);
    pending.values().forEach(reply -> reply.completeExceptionally(failure));
  }
}
