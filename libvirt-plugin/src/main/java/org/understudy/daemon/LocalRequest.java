package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.channels.SocketChannel;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.json.JsonLines;

/**
 * One connection of the CLI. Three threads: one reads the request and then notices when the other
 * side goes away, one runs the verb, one writes what the verb says; the queue between the last two
 * is bounded, and who lets it fill up is cut off.
 */
final class LocalRequest implements Reply {
  private static final Logger LOG = LoggerFactory.getLogger(LocalRequest.class);
  private static final int UNREAD_LINES = 10_000;

  private final SocketChannel channel;
  private final Map<String, LocalVerb> verbs;
  private final Runnable onEnd;
  private final JsonLines lines;
  private final BlockingQueue<ObjectNode> unread = new LinkedBlockingQueue<>(UNREAD_LINES);
  private volatile boolean gone;

  LocalRequest(SocketChannel channel, Map<String, LocalVerb> verbs, Runnable onEnd) {
    this.channel = channel;
    this.verbs = verbs;
    this.onEnd = onEnd;
    this.lines = new JsonLines(channel, "the local socket", JsonLines.LIMIT_BYTES);
  }

  void start() {
    thread("local-read", this::read);
  }

  @Override
  public void out(String text) {
    say(JsonLines.object().put("out", text));
  }

  @Override
  public void err(String text) {
    say(JsonLines.object().put("err", text));
  }

  @Override
  public boolean isOpen() {
    return !gone;
  }

  private void read() {
    try {
      ObjectNode request = lines.read();
      if (request == null) {
        end();
        return;
      }
      thread("local-write", this::write);
      thread("local-" + request.path("verb").asText("verb"), () -> run(request));
      while (lines.read() != null) {
        LOG.debug("ignored a line after the request");
      }
      gone = true;
    } catch (IOException e) {
      LOG.debug("the local request ended: {}", e.toString());
      end();
    }
  }

  private void run(ObjectNode request) {
    int exit = 1;
    String name = request.path("verb").asText();
    LocalVerb verb = verbs.get(name);
    try {
      if (verb == null) {
        throw new IOException("this understudyd does not know the request '%s'".formatted(name));
      }
      request.remove("verb");
      verb.run(request, this);
      exit = 0;
    } catch (Exception e) {
      LOG.info("the local request '{}' failed: {}", name, e.toString());
      LOG.debug("the local request '{}'", name, e);
      err("error: " + (e.getMessage() == null ? e.toString() : e.getMessage()));
    } finally {
      say(JsonLines.object().put("exit", exit));
    }
  }

  private void write() {
    try {
      ObjectNode line;
      do {
        line = unread.take();
        lines.write(line);
      } while (!line.has("exit"));
    } catch (IOException e) {
      LOG.debug("nobody reads the answer: {}", e.toString());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      end();
    }
  }

  private void say(ObjectNode line) {
    if (!gone && !unread.offer(line)) {
      LOG.warn("a local request was cut off: {} lines of its answer are unread", UNREAD_LINES);
      end();
    }
  }

  private void end() {
    gone = true;
    onEnd.run();
    try {
      channel.close();
    } catch (IOException e) {
      LOG.debug("closing a local request: {}", e.toString());
    }
  }

  private static void thread(String name, Runnable work) {
    Thread thread = new Thread(work, name);
    thread.setDaemon(true);
    thread.start();
  }
}
