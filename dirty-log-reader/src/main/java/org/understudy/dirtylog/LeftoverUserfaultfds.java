package org.understudy.dirtylog;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.understudy.linux.Userfaultfd;

/**
 * Descriptors that an injection cut off left in the target. A userfaultfd with asynchronous write
 * protection, or one that nobody has initialised, is ours: QEMU uses neither. The latter kind is
 * looked at twice, because QEMU's own are initialised directly after they are made.
 */
final class LeftoverUserfaultfds {
  private static final String LINK = "anon_inode:[userfaultfd]";
  private static final long SECOND_LOOK_MS = 20;

  private LeftoverUserfaultfds() {}

  /** Descriptor numbers in process {@code pid}. */
  static List<Integer> in(int pid) throws IOException {
    List<Integer> first = look(pid);
    if (first.isEmpty()) {
      return first;
    }
    try {
      Thread.sleep(SECOND_LOOK_MS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    List<Integer> both = look(pid);
    both.retainAll(first);
    return both;
  }

  private static List<Integer> look(int pid) throws IOException {
    List<Integer> found = new ArrayList<>();
    try (DirectoryStream<Path> fds = Files.newDirectoryStream(Path.of("/proc/" + pid + "/fd"))) {
      for (Path fd : fds) {
        if (isOurs(pid, Integer.parseInt(fd.getFileName().toString()))) {
          found.add(Integer.valueOf(fd.getFileName().toString()));
        }
      }
    }
    return found;
  }

  /** Whether descriptor {@code fd} of process {@code pid} is a userfaultfd of our kind, now. */
  static boolean isOurs(int pid, int fd) throws IOException {
    try {
      Path link = Files.readSymbolicLink(Path.of("/proc/" + pid + "/fd/" + fd));
      if (!link.toString().equals(LINK)) {
        return false;
      }
      for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/fdinfo/" + fd))) {
        if (line.startsWith("API:")) {
          return isOurs(line);
        }
      }
      return false;
    } catch (NoSuchFileException e) {
      return false; // closed meanwhile
    }
  }

  /** {@code line}: {@code API: api:features:ioctls}, three hexadecimal numbers. */
  static boolean isOurs(String line) {
    String[] fields = line.substring("API:".length()).trim().split(":", -1);
    long features = Long.parseUnsignedLong(fields[1], 16);
    return features == 0 || (features & Userfaultfd.FEATURE_WP_ASYNC) != 0;
  }
}
