package org.understudy.daemon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.understudy.file.DurableFile;

/**
 * What is durable beside the images of the guests followed here: of each guest the newest edition,
 * and as long as that has no committed epoch the one before, which a failover then resumes.
 */
final class Editions {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path tiersDir;

  Editions(Path tiersDir) {
    this.tiersDir = tiersDir;
  }

  /** Oldest first; at most two, none for a guest that is not followed. */
  List<Edition> of(UUID guest) throws IOException {
    Path file = file(guest);
    List<Edition> found = new ArrayList<>();
    if (Files.exists(file)) {
      for (JsonNode each : JSON.readTree(file.toFile())) {
        found.add(
            new Edition(
                GuestOrder.of(each.required("order")),
                each.required("folder").asText(),
                each.required("afterEpoch").asLong()));
      }
    }
    return found;
  }

  /** Replaces them; durable when it returns. Folders of none of them are deleted. */
  void write(UUID guest, List<Edition> editions) throws IOException {
    ArrayNode array = JSON.createArrayNode();
    for (Edition each : editions) {
      array
          .addObject()
          .put("folder", each.folder())
          .put("afterEpoch", each.afterEpoch())
          .set("order", each.order().toJson());
    }
    Files.createDirectories(tiersDir);
    DurableFile.replace(file(guest), JSON.writeValueAsBytes(array));
    deleteFoldersBut(guest, editions);
  }

  /** Forgets the guest, images and all. */
  void forget(UUID guest) throws IOException {
    Files.deleteIfExists(file(guest));
    Files.deleteIfExists(suspendedFile(guest));
    deleteFoldersBut(guest, List.of());
  }

  Path folder(Edition edition) {
    return tiersDir.resolve(edition.folder());
  }

  /** The guest is suspended since this epoch, the last one; 0: it is not. Durable. */
  void suspended(UUID guest, long epoch) throws IOException {
    if (epoch == 0) {
      DurableFile.delete(suspendedFile(guest));
    } else {
      DurableFile.replace(suspendedFile(guest), JSON.writeValueAsBytes(epoch));
    }
  }

  /** Whether the guest was left suspended at this epoch. */
  boolean isSuspendedAt(UUID guest, long epoch) throws IOException {
    Path file = suspendedFile(guest);
    return Files.exists(file) && JSON.readTree(file.toFile()).asLong() == epoch;
  }

  /** Deletes the images of all other editions. */
  void deleteFoldersBut(UUID guest, List<Edition> kept) throws IOException {
    for (String name : List.of(guest.toString(), guest + ".2")) {
      if (kept.stream().noneMatch(edition -> edition.folder().equals(name))) {
        Standby.delete(tiersDir.resolve(name));
      }
    }
  }

  private Path file(UUID guest) {
    return tiersDir.resolve(guest + ".order");
  }

  private Path suspendedFile(UUID guest) {
    return tiersDir.resolve(guest + ".suspended");
  }
}
