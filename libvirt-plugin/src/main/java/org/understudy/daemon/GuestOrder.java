package org.understudy.daemon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.UUID;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.RamBlock;

/**
 * What a primary asks of a standby host: follow this guest. The request {@code prepare} of the control stream.
 *
 * @param domain UUID
 * @param name name of the domain
 * @param generation the generation that the primary owns
 * @param settings how it is protected
 * @param machine QEMU's versioned machine type
 * @param layout RAM blocks
 * @param liveXml the running domain as a migration would send it
 * @param persistentXml what it is when it starts the next time, or null for a transient domain
 * @param guardSession session of the guard's datagrams
 * @param guardKey their key
 */
record GuestOrder(
    UUID domain,
    String name,
    long generation,
    Ownership.Settings settings,
    String machine,
    GuestLayout layout,
    String liveXml,
    String persistentXml,
    long guardSession,
    byte[] guardKey) {

  private static final int MAX_BLOCKS = 512;

  ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("domain", domain.toString()).put("name", name).put("generation", generation);
    json.put("intervalMs", settings.intervalMs()).put("fast", settings.fast().toString());
    json.put("machine", machine).put("liveXml", liveXml).put("persistentXml", persistentXml);
    json.put("guardSession", Long.toString(guardSession));
    json.put("guardKey", Base64.getEncoder().encodeToString(guardKey));
    var blocks = json.putArray("blocks");
    for (RamBlock block : layout.blocks()) {
      blocks.addObject().put("name", block.name()).put("bytes", block.bytes());
    }
    return json;
  }

  /**
   * Reads a request.
   *
   * @throws IOException with a sentence if a field is missing or wrong
   */
  static GuestOrder of(JsonNode json) throws IOException {
    try {
      JsonNode listed = json.required("blocks");
      if (listed.size() < 1 || listed.size() > MAX_BLOCKS) {
        throw new IllegalArgumentException(listed.size() + " RAM blocks");
      }
      List<RamBlock> blocks = new ArrayList<>();
      for (JsonNode block : listed) {
        blocks.add(new RamBlock(block.required("name").asText(), block.required("bytes").asLong()));
      }
      JsonNode persistent = json.path("persistentXml");
      return new GuestOrder(
          UUID.fromString(json.required("domain").asText()),
          json.required("name").asText(),
          json.required("generation").asLong(),
          new Ownership.Settings(
              json.required("intervalMs").asInt(), Budget.parse(json.required("fast").asText())),
          json.required("machine").asText(),
          new GuestLayout(blocks),
          json.required("liveXml").asText(),
          persistent.isTextual() ? persistent.asText() : null,
          Long.parseLong(json.required("guardSession").asText()),
          Base64.getDecoder().decode(json.required("guardKey").asText()));
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw new IOException("a request to follow a guest that is none: " + e.getMessage(), e);
    }
  }
}
