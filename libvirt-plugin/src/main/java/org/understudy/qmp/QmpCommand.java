package org.understudy.qmp;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;

/**
 * One command of QEMU's machine protocol: its text, and how its reply is read.
 *
 * @param name such as {@code query-status}
 * @param text the whole JSON object, such as {@code {"execute":"query-status"}}
 */
public record QmpCommand(String name, String text) {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** A command without arguments. */
  public static QmpCommand of(String name) {
    return build(name, null);
  }

  /** A command with arguments, one JSON object. */
  public static QmpCommand of(String name, ObjectNode arguments) {
    return build(name, arguments);
  }

  /** A command given as JSON text. */
  public static QmpCommand parse(String text) throws IOException {
    JsonNode parsed;
    try {
      parsed = JSON.readTree(text);
    } catch (JsonProcessingException e) {
      throw new IOException("a QMP command is not JSON: " + e.getOriginalMessage(), e);
    }
    String name = parsed.path("execute").asText(parsed.path("exec-oob").asText(""));
    if (name.isEmpty()) {
      throw new IOException("a QMP command without \"execute\": " + text);
    }
    return new QmpCommand(name, text);
  }

  /** An empty object for arguments. */
  public static ObjectNode arguments() {
    return JSON.createObjectNode();
  }

  /**
   * What QEMU returned: the reply's {@code return}.
   *
   * @throws QmpRefusal the reply is an error
   * @throws IOException the reply is neither
   */
  public JsonNode result(String reply) throws IOException {
    JsonNode parsed;
    try {
      parsed = JSON.readTree(reply);
    } catch (JsonProcessingException e) {
      throw new IOException("QEMU's reply to " + name + " is not JSON: " + reply, e);
    }
    JsonNode error = parsed.get("error");
    if (error != null) {
      throw new QmpRefusal(name, error.path("class").asText(), error.path("desc").asText());
    }
    JsonNode result = parsed.get("return");
    if (result == null) {
      throw new IOException("QEMU's reply to " + name + " has no \"return\": " + reply);
    }
    return result;
  }

  private static QmpCommand build(String name, ObjectNode arguments) {
    ObjectNode command = JSON.createObjectNode().put("execute", name);
    if (arguments != null) {
      command.set("arguments", arguments);
    }
    return new QmpCommand(name, command.toString());
  }
}
