package org.understudy.daemon;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.RamBlock;
import org.understudy.libvirt.PrimaryDomain;

/**
 * What a primary asks of a standby host: follow this guest. The request {@code prepare} of the
 * control stream.
 *
 * @param primary the domain as it runs
 * @param generation the generation that the primary owns
 * @param settings how it is protected
 * @param layout RAM blocks
 * @param guardSession session of the guard's datagrams
 * @param guardKey their key, in hexadecimal
 * @param autostart whether the domain starts with its host when it is not protected
 */
record GuestOrder(
    PrimaryDomain primary,
    long generation,
    Ownership.Settings settings,
    GuestLayout layout,
    UUID guardSession,
    String guardKey,
    boolean autostart) {

  /** Without the key. */
  @Override
  public String toString() {
    return "guest " + primary.name() + ", generation " + generation;
  }

  private static final int MAX_BLOCKS = 512;
  private static final ObjectMapper JSON = new ObjectMapper();

  ObjectNode toJson() {
    ObjectNode json = JSON.createObjectNode();
    json.set("primary", JSON.valueToTree(primary));
    json.put("generation", generation);
    json.put("intervalMs", settings.intervalMs()).put("fast", settings.fast().toString());
    json.put("holdOutput", settings.holdOutput());
    json.put("guardSession", guardSession.toString());
    json.put("guardKey", guardKey);
    json.put("autostart", autostart);
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
      return new GuestOrder(
          JSON.treeToValue(json.required("primary"), PrimaryDomain.class),
          json.required("generation").asLong(),
          new Ownership.Settings(
              json.required("intervalMs").asInt(),
              Budget.parse(json.required("fast").asText()),
              json.path("holdOutput").asBoolean(false)),
          new GuestLayout(blocks),
          UUID.fromString(json.required("guardSession").asText()),
          json.required("guardKey").asText(),
          json.path("autostart").asBoolean());
    } catch (IllegalArgumentException | ArithmeticException | JsonProcessingException e) {
      throw new IOException("a request to follow a guest that is none: " + e.getMessage(), e);
    }
  }
}
