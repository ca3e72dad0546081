package org.understudy.daemon;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.UUID;

/**
 * Where a guard runs. Under systemd it gets a scope, a control group of its own: so neither a stop
 * of the daemon's service, nor its memory limit, nor a kill of its whole group reaches the guard.
 */
final class GuardScope {
  private static final Path BOOTED = Path.of("/run/systemd/system"); // sd_booted(3)

  /** Twice what a guard was seen to take. */
  private static final String MEMORY_MAX = "MemoryMax=128M";

  /** What makes a guard independent of the daemon where there is no systemd: a session. */
  static final List<String> SESSION = List.of("setsid");

  private GuardScope() {}

  /** Whether systemd runs this host. */
  static boolean available() {
    return Files.isDirectory(BOOTED);
  }

  /** The words before a guard's command line. */
  static List<String> launcher(UUID session) {
    return available()
        ? List.of(
            "setsid",
            "systemd-run",
            "--scope",
            "--quiet",
            "--collect",
            "--unit=understudy-guard-" + session,
            "--description=Understudy guard",
            "--property=" + MEMORY_MAX,
            "--property=MemorySwapMax=0",
            "--property=CPUWeight=1000",
            "--")
        : SESSION;
  }
}
