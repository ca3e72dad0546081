package org.understudy.fault;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.understudy.linux.PidFd;

/**
 * What a campaign's file says: {@code POINT kill|stop|stall VICTIM...}. A victim is a process id,
 * {@code self}, or {@code children} (every process that this one has started and that still runs).
 * {@code stall} is a stop that ends after {@value #STALL_SECONDS} s.
 */
final class Fault {
  static final int STALL_SECONDS = 5;

  private Fault() {}

  /** Does what {@code plan} says if it is for this point. One thread at a time gets to do it. */
  static synchronized void strike(FaultPoint point, Path plan) {
    try {
      String[] words = Files.readString(plan).strip().split(" +", -1);
      if (!words[0].equals(point.name())) {
        return;
      }
      Path struck = plan.resolveSibling(plan.getFileName() + ".struck");
      Files.move(plan, struck, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      List<Integer> victims =
          Arrays.stream(words).skip(2).flatMap(Fault::named).map(Math::toIntExact).toList();
      for (int victim : victims) {
        hit(words[1], victim);
      }
    } catch (NoSuchFileException nothingPlanned) {
      // The campaign is between two cells.
    } catch (IOException e) {
      System.err.println("fault at " + point + " failed: " + e.getMessage());
    }
  }

  private static Stream<Long> named(String victim) {
    return switch (victim) {
      case "self" -> Stream.of(ProcessHandle.current().pid());
      case "children" -> ProcessHandle.current().children().map(ProcessHandle::pid);
      default -> Stream.of(Long.parseLong(victim));
    };
  }

  private static void hit(String how, int pid) throws IOException {
    try (PidFd process = new PidFd(pid)) {
      switch (how) {
        case "kill" -> process.signal(PidFd.SIGKILL);
        case "stop" -> process.signal(PidFd.SIGSTOP);
        case "stall" -> {
          // Whoever is stopped cannot wake itself.
          new ProcessBuilder("sh", "-c", "sleep " + STALL_SECONDS + "; kill -CONT " + pid).start();
          process.signal(PidFd.SIGSTOP);
        }
        default -> throw new IOException("no such fault: " + how);
      }
    }
  }
}
