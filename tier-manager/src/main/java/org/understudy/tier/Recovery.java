package org.understudy.tier;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * Reads an image back from its directory: the durable index, then every committed redo record after
 * it, in order. What was unfinished or is folded already is deleted. Doing it again, after a crash
 * in the middle, gives the same.
 */
final class Recovery {
  private Recovery() {}

  /**
   * Fills the tiers of an image that nobody uses yet.
   *
   * @throws IOException with a sentence when the directory is damaged
   */
  static void recover(Path directory, IndexJournal journal, Tiers tiers) throws IOException {
    tiers.lock.lock();
    try {
      journal.load(tiers.index);
      tiers.epoch = journal.epoch();
      tiers.deviceState = journal.deviceState();
      tiers.medium.limitBytes((long) tiers.mediumLimit() << org.understudy.guest.Pages.SHIFT);
      claim(tiers.index, tiers);
      replay(directory, journal, tiers);
    } finally {
      tiers.lock.unlock();
    }
  }

  private static void claim(PageIndex index, Tiers tiers) throws IOException {
    for (int page = index.nonZero.next(0); page >= 0; page = index.nonZero.next(page + 1)) {
      long location = index.location[page];
      switch (Location.kind(location)) {
        case Location.MEDIUM -> tiers.medium.claim(Location.place(location));
        case Location.SLOW -> tiers.slow.claim(Location.place(location));
        default -> {}
      }
    }
  }

  private static void replay(Path directory, IndexJournal journal, Tiers tiers) throws IOException {
    List<String> names = new ArrayList<>();
    try (DirectoryStream<Path> files =
        Files.newDirectoryStream(directory, RedoFormat.PREFIX + "*")) {
      files.forEach(file -> names.add(file.getFileName().toString()));
    }
    Collections.sort(names);
    for (String name : names) {
      Path path = directory.resolve(name);
      if (name.endsWith(RedoFormat.PART)
          || Long.parseLong(name.substring(RedoFormat.PREFIX.length())) <= journal.epoch()) {
        Files.delete(path);
        continue;
      }
      RedoRecord record = RedoRecord.open(path, journal.layout());
      if (record.previous != tiers.epoch) {
        record.close();
        throw new IOException(
            path
                + " follows epoch "
                + record.previous
                + ", but found before it is epoch "
                + tiers.epoch);
      }
      tiers.add(record);
      while (tiers.hasUnapplied()) {
        tiers.apply(Integer.MAX_VALUE);
      }
    }
    int inRedo = tiers.index.count(Location.REDO);
    int known = tiers.backlog.stream().mapToInt(record -> record.live).sum();
    if (inRedo != known) {
      throw new IOException(
          directory + " has no redo record for " + (inRedo - known) + " pages of its index");
    }
  }
}
