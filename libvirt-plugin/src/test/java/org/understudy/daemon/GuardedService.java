package org.understudy.daemon;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.understudy.guard.GuardClient;
import org.understudy.guard.GuardSettings;
import org.understudy.guard.ProcessIdentity;

/**
 * A daemon for qemu-test-images/resources.sh to stop, kill and starve: it attaches to the guard of
 * a process, or starts one as the daemon does, and eats memory when the file {@code eat} appears.
 * Arguments: a folder, the process to guard.
 */
public final class GuardedService {
  private GuardedService() {}

  /** Runs until it is killed, or the file {@code finish} appears. */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    Path folder = Path.of(arguments[0]);
    Path file = folder.resolve("guard");
    GuardClient guard;
    if (Files.exists(file)) {
      guard = GuardClient.attach(GuardSettings.read(file).socket());
      say("attached to the guard that was there");
    } else {
      GuardSettings settings =
          GuardSettings.of(
              ProcessIdentity.of(Integer.parseInt(arguments[1])),
              folder.resolve("guard.sock"),
              "",
              0,
              List.of());
      guard = GuardClient.start(settings, file, GuardScope.launcher(settings.session()));
      say("started a guard");
    }
    List<ByteBuffer> eaten = new ArrayList<>();
    while (!Files.exists(folder.resolve("finish"))) {
      if (Files.deleteIfExists(folder.resolve("eat"))) {
        while (true) {
          ByteBuffer more = ByteBuffer.allocateDirect(1 << 20);
          for (int i = 0; i < more.capacity(); i += 4096) {
            more.put(i, (byte) 1);
          }
          eaten.add(more);
        }
      }
      Thread.sleep(50);
    }
    guard.finish();
    say("finished after " + eaten.size());
  }

  private static void say(String sentence) {
    System.out.println("service: " + sentence);
  }
}
