package org.understudy.guard;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.understudy.linux.PidFd;

/** Guards as the kernel knows them, for those that do not answer. */
public final class GuardProcesses {
  private GuardProcesses() {}

  /**
   * Kills every guard that was started with this settings file.
   *
   * @return their process ids
   */
  public static List<Integer> end(Path settingsFile) {
    List<Integer> ended = new ArrayList<>();
    for (ProcessHandle process : ProcessHandle.allProcesses().toList()) {
      int pid = Math.toIntExact(process.pid());
      try (PidFd held = new PidFd(pid)) {
        if (isGuard(pid, settingsFile)) {
          held.signal(PidFd.SIGKILL);
          ended.add(pid);
        }
      } catch (IOException gone) {
        // It ended by itself, or is none of ours.
      }
    }
    return ended;
  }

  private static boolean isGuard(int pid, Path settingsFile) throws IOException {
    String[] words = Files.readString(Path.of("/proc/" + pid + "/cmdline")).split("\0", -1);
    // The last word is empty: every argument ends with a zero byte.
    return words.length > 3
        && words[words.length - 2].equals(settingsFile.toAbsolutePath().toString())
        && words[words.length - 3].equals(Guard.class.getName());
  }
}
