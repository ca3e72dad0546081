package org.understudy.ssh;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.channels.ByteChannel;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.json.JsonLines;

/**
 * The answering side of the control protocol: lines {@code {"id": N, "verb": name, "args": {…}}}
 * are answered, in any order, by {@code {"id": N, "reply": {…}}} or {@code {"id": N, "error":
 * sentence}}. At most {@value #REQUESTS_AT_ONCE} requests of a stream run at once; the next waits
 * unread.
 */
public final class ControlService implements ChannelService {
  private static final Logger LOG = LoggerFactory.getLogger(ControlService.class);
  private static final int REQUESTS_AT_ONCE = 8;

  private final Map<String, ControlVerb> verbs;

  public ControlService(Map<String, ControlVerb> verbs) {
    this.verbs = Map.copyOf(verbs);
  }

  @Override
  public void serve(String peer, ByteChannel channel) throws Exception {
    JsonLines lines = new JsonLines(channel, peer, JsonLines.LIMIT_BYTES);
    Semaphore free = new Semaphore(REQUESTS_AT_ONCE);
    ExecutorService requests =
        Executors.newCachedThreadPool(
            work -> {
              Thread thread = new Thread(work, "control-request-" + peer);
              thread.setDaemon(true);
              return thread;
            });
    try {
      for (ObjectNode request = lines.read(); request != null; request = lines.read()) {
        ObjectNode asked = request;
        free.acquire();
        requests.execute(
            () -> {
              try {
                lines.write(answer(peer, asked));
              } catch (IOException e) {
                LOG.warn("no answer to {} for {}: {}", asked.path("verb"), peer, e.getMessage());
              } finally {
                free.release();
              }
            });
      }
    } finally {
      requests.shutdown();
    }
  }

  private ObjectNode answer(String peer, ObjectNode request) {
    ObjectNode answer = JsonLines.object();
    answer.set("id", request.path("id"));
    String name = request.path("verb").asText();
    ControlVerb verb = verbs.get(name);
    if (verb == null) {
      return answer.put("error", "the request '%s' is unknown on this host".formatted(name));
    }
    if (!(request.path("args") instanceof ObjectNode args)) {
      return answer.put("error", "the request '%s' came without its args object".formatted(name));
    }
    try {
      return answer.set("reply", verb.run(peer, args));
    } catch (Exception e) {
      LOG.warn("the request '{}' of {} failed", name, peer, e);
      return answer.put("error", e.getMessage() == null ? e.toString() : e.getMessage());
    }
  }
}
