package org.understudy.daemon;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.UUID;

/**
 * Where a guard runs, and a holder of a guest's output. Under systemd it gets a scope, a control
 * group of its own: so neither a stop of the daemon's service, nor its memory limit, nor a kill of
 * its whole group reaches it.
 */
final class GuardScope {
  private static final Path BOOTED = Path.of("/run/systemd/system"); // sd_booted(3)

  /** Twice what a guard was seen to take. */
  private static final long GUARD_MIB = 128;

  /** The same for a holder, beside the room for packets. */
  private static final long HOLDER_MIB = 128;

  /** What makes a guard independent of the daemon where there is no systemd: a session. */
  static final List<String> SESSION = List.of("setsid");

  private GuardScope() {}

  /** Whether systemd runs this host. */
  static boolean available() {
    return Files.isDirectory(BOOTED);
  }

  /** The words before a guard's command line. */
  static List<String> launcher(UUID session) {
    return scope("guard", session.toString(), GUARD_MIB);
  }

  /** The words before a holder's command line; {@code bytes} is its room for packets. */
  static List<String> holderLauncher(String session, long bytes) {
    return scope("holder", session, HOLDER_MIB + bytes / (1 << 20));
  }

  private static List<String> scope(String what, String session, long mib) {
    return available()
        ? List.of(
            "setsid",
            "systemd-run",
            "--scope",
            "--quiet",
            "--collect",
            "--unit=understudy-" + what + "-" + session,
            "--description=Understudy " + what,
            "--property=MemoryMax=" + mib + "M",
            "--property=MemorySwapMax=0",
            "--property=CPUWeight=1000",
            "--")
        : SESSION;
  }
}
