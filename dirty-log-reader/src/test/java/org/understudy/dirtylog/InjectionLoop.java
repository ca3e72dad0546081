package org.understudy.dirtylog;

import java.io.IOException;
import java.util.Arrays;
import java.util.EnumSet;
import org.understudy.linux.Userfaultfd;

/**
 * Injects pairs of userfaultfd and close, and prints how long the target stood. Apart from the test
 * because a JVM's thread that waits for a child of its own takes the child's ptrace stops for its
 * end.
 */
final class InjectionLoop {
  private InjectionLoop() {}

  /** Process id, number of pairs. */
  public static void main(String[] arguments) throws IOException {
    int pid = Integer.parseInt(arguments[0]);
    int calls = Integer.parseInt(arguments[1]);
    EnumSet<InjectionStep> seen = EnumSet.noneOf(InjectionStep.class);
    SystemCallInjection injection = new SystemCallInjection(pid, seen::add);
    injection.warmUp();
    long[] stopsUs = new long[calls];
    for (int i = 0; i < calls; i++) {
      long fd = injection.call(Userfaultfd.SYSTEM_CALL, Userfaultfd.FLAGS, 0);
      stopsUs[i] = injection.stoppedNs() / 1000;
      boolean made = fd > 2 && LeftoverUserfaultfds.isOurs(pid, (int) fd);
      long closed = injection.call(3, fd, 0);
      if (!made || closed != 0) {
        throw new IOException("call " + i + ": userfaultfd " + fd + ", close " + closed);
      }
    }
    long first = stopsUs[0];
    Arrays.sort(stopsUs);
    System.out.printf(
        "%d injections, %d steps, stopped for %d us (first), %d us (median), %d us (99 of 100), %d us (longest)%n",
        calls,
        seen.size(),
        first,
        stopsUs[calls / 2],
        stopsUs[calls * 99 / 100],
        stopsUs[calls - 1]);
  }
}
