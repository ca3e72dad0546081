package org.understudy.guard;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.understudy.linux.PidFd;

/**
 * A process that cannot be mistaken for a later one of the same number.
 *
 * @param pid process id
 * @param startTicks when it started, in clock ticks since boot ({@code /proc/PID/stat})
 */
public record ProcessIdentity(int pid, long startTicks) {

  /** The process that has this number now. */
  public static ProcessIdentity of(int pid) throws IOException {
    String stat = Files.readString(Path.of("/proc/" + pid + "/stat"));
    // The name, in parentheses, may hold anything; starttime is field 22, the name field 2.
    String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1);
    return new ProcessIdentity(pid, Long.parseLong(fields[19]));
  }

  /** Holds this very process; fails if it has ended, also where its number has a new owner. */
  public PidFd hold() throws IOException {
    PidFd held = new PidFd(pid);
    boolean same = false;
    try {
      same = of(pid).startTicks == startTicks;
    } finally {
      if (!same) {
        held.close();
      }
    }
    if (!same) {
      throw new IOException("process " + pid + " is not the one started at tick " + startTicks);
    }
    return held;
  }
}
