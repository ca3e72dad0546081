package org.understudy.daemon;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;
import org.understudy.file.DurableFile;
import org.understudy.json.JsonLines;

/**
 * The durable {@link Ownership} of each domain, {@code <state-dir>/domains/UUID.json}. A generation
 * never goes back and never changes its owner.
 */
public final class OwnershipStore {
  private static final int FORMAT = 1;

  private final Path folder;

  public OwnershipStore(Path stateDir) {
    this.folder = stateDir.resolve("domains");
  }

  /**
   * What is known of a domain; empty if nothing.
   *
   * @throws IOException with a sentence naming the file if it is torn or not ours
   */
  public Optional<Ownership> read(UUID domain) throws IOException {
    Path file = file(domain);
    byte[] content;
    try {
      content = Files.readAllBytes(file);
    } catch (NoSuchFileException e) {
      return Optional.empty();
    }
    try {
      Ownership ownership = parse(JsonLines.MAPPER.readTree(content));
      if (!ownership.domain().equals(domain)) {
        throw new IllegalArgumentException("it tells of domain " + ownership.domain());
      }
      return Optional.of(ownership);
    } catch (JsonProcessingException e) {
      throw unreadable(file, "it is torn or no JSON: " + e.getOriginalMessage(), e);
    } catch (IllegalArgumentException e) {
      throw unreadable(file, e.getMessage(), e);
    }
  }

  /** All domains known; fails if one file is unreadable. */
  public List<Ownership> all() throws IOException {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    List<Ownership> all = new ArrayList<>();
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.sorted().toList()) {
        String name = file.getFileName().toString();
        // Names with a dot in front are what a death left half-written.
        if (name.endsWith(".json") && !name.startsWith(".")) {
          read(uuid(file, name)).ifPresent(all::add);
        }
      }
    }
    return all;
  }

  /**
   * Keeps what is known now, durable on return.
   *
   * @throws IOException with a sentence if the file knows a newer generation, or another owner of
   *     the same one
   */
  public synchronized void write(Ownership ownership) throws IOException {
    Optional<Ownership> known = read(ownership.domain());
    if (known.isPresent()) {
      refuseOlder(known.get(), ownership);
    }
    DurableFile.replace(
        file(ownership.domain()),
        JsonLines.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsBytes(format(ownership)));
  }

  /**
   * As {@link #write}, if what is known is still {@code expected}.
   *
   * @return whether it was
   */
  public synchronized boolean writeIf(Ownership expected, Ownership ownership) throws IOException {
    if (!read(expected.domain()).equals(Optional.of(expected))) {
      return false;
    }
    write(ownership);
    return true;
  }

  /** Forgets a domain; durable on return. */
  public synchronized void remove(UUID domain) throws IOException {
    DurableFile.delete(file(domain));
  }

  private static void refuseOlder(Ownership known, Ownership fresh) throws IOException {
    boolean older = fresh.generation() < known.generation();
    boolean rival =
        fresh.generation() == known.generation() && !fresh.owner().equals(known.owner());
    if (older || rival) {
      throw new IOException(
          "domain %s: generation %d of %s cannot follow generation %d of %s"
              .formatted(
                  known.domainName(),
                  fresh.generation(),
                  fresh.owner(),
                  known.generation(),
                  known.owner()));
    }
  }

  private Path file(UUID domain) {
    return folder.resolve(domain + ".json");
  }

  private static UUID uuid(Path file, String name) throws IOException {
    try {
      return UUID.fromString(name.substring(0, name.length() - ".json".length()));
    } catch (IllegalArgumentException e) {
      throw unreadable(file, "its name is no UUID", e);
    }
  }

  private static IOException unreadable(Path file, String why, Exception cause) {
    return new IOException(
        "%s cannot be relied on (%s); who may run the domain has to be settled by hand"
            .formatted(file, why),
        cause);
  }

  private static ObjectNode format(Ownership ownership) {
    ObjectNode node = JsonLines.object();
    node.put("format", FORMAT);
    node.put("domain", ownership.domain().toString());
    node.put("domainName", ownership.domainName());
    node.put("generation", ownership.generation());
    node.put("owner", ownership.owner());
    node.put("role", ownership.role().name().toLowerCase(Locale.ROOT));
    node.put("peer", ownership.peer());
    node.put("intervalMs", ownership.settings().intervalMs());
    node.put("fast", ownership.settings().fast().toString());
    node.put("holdOutput", ownership.settings().holdOutput());
    node.put("committedEpoch", ownership.committedEpoch());
    node.put("autostart", ownership.autostart());
    return node;
  }

  private static Ownership parse(JsonNode node) {
    if (node.path("format").asInt() != FORMAT) {
      throw new IllegalArgumentException(
          "its format is %s, expected %d".formatted(node.path("format"), FORMAT));
    }
    return new Ownership(
        UUID.fromString(text(node, "domain")),
        text(node, "domainName"),
        number(node, "generation"),
        text(node, "owner"),
        role(text(node, "role")),
        text(node, "peer"),
        new Ownership.Settings(
            milliseconds(node, "intervalMs"),
            Budget.parse(text(node, "fast")),
            node.path("holdOutput").asBoolean(false)),
        number(node, "committedEpoch"),
        node.path("autostart").asBoolean());
  }

  private static Ownership.Role role(String text) {
    for (Ownership.Role role : Ownership.Role.values()) {
      if (role.name().toLowerCase(Locale.ROOT).equals(text)) {
        return role;
      }
    }
    throw new IllegalArgumentException(
        "role is '%s', expected primary, ending, owner, standby or former".formatted(text));
  }

  private static String text(JsonNode node, String key) {
    if (!node.path(key).isTextual()) {
      throw new IllegalArgumentException("%s is %s, expected text".formatted(key, node.path(key)));
    }
    return node.get(key).asText();
  }

  private static int milliseconds(JsonNode node, String key) {
    long number = number(node, key);
    if (number < 1 || number > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          "%s is %d, expected 1 to %d".formatted(key, number, Integer.MAX_VALUE));
    }
    return (int) number;
  }

  private static long number(JsonNode node, String key) {
    if (!node.path(key).canConvertToLong() || !node.path(key).isIntegralNumber()) {
      throw new IllegalArgumentException(
          "%s is %s, expected a whole number".formatted(key, node.path(key)));
    }
    return node.get(key).asLong();
  }
}
