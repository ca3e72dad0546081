package org.understudy.linux;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** The pipes of another process, from /proc/PID/fd and /proc/PID/fdinfo. */
public final class PipeEnds {
  private static final int O_ACCMODE = 3;
  private static final int O_WRONLY = 1;

  private PipeEnds() {}

  /** How many descriptors of process {@code pid} are writing ends of anonymous pipes. */
  public static int writing(int pid) throws IOException {
    List<Path> descriptors;
    try (Stream<Path> all = Files.list(Path.of("/proc/" + pid + "/fd"))) {
      descriptors = all.toList();
    }
    int ends = 0;
    for (Path descriptor : descriptors) {
      try {
        if (Files.readSymbolicLink(descriptor).toString().startsWith("pipe:")
            && (flags(pid, descriptor.getFileName()) & O_ACCMODE) == O_WRONLY) {
          ends++;
        }
      } catch (NoSuchFileException closedMeanwhile) {
        // not one of those that stay
      }
    }
    return ends;
  }

  /** {@code flags:} of fdinfo, an octal number. */
  private static int flags(int pid, Path number) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/fdinfo/" + number))) {
      if (line.startsWith("flags:")) {
        return (int) Long.parseLong(line.substring("flags:".length()).strip(), 8);
      }
    }
    throw new IOException("/proc/" + pid + "/fdinfo/" + number + " has no flags");
  }
}
