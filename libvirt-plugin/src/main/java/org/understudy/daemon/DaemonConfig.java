package org.understudy.daemon;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.understudy.libvirt.QemuHook;
import org.understudy.ssh.HostPort;

/**
 * The configuration of a host, every value checked; docs/understudy.conf explains the keys.
 *
 * @param tiersDir where standby images are kept; default {@code <state-dir>/tiers}
 */
public record DaemonConfig(
    Host host, String libvirtUri, Protect protect, Fencing fencing, Path tiersDir) {
  /** Where the file is unless {@code --config} says otherwise. */
  public static final Path DEFAULT_FILE = Path.of("/etc/understudy/understudy.conf");

  /**
   * Who and where this host is.
   *
   * @param name what it calls itself; default the kernel's host name
   * @param stateDir durable: identity, trusted hosts, ownership of domains
   * @param runDir volatile: the local socket
   * @param listen TCP, for peers' daemons
   * @param guardPort UDP, for the guards' word
   * @param guardAddress where guards of other hosts reach this one, best over another network than
   *     the daemons; the word "same": where the daemons do
   */
  public record Host(
      String name,
      Path stateDir,
      Path runDir,
      HostPort listen,
      int guardPort,
      String guardAddress) {
    /** Where guards reach this host, unless it is where the daemons do. */
    public Optional<String> guardsElsewhere() {
      return guardAddress.equals("same") ? Optional.empty() : Optional.of(guardAddress);
    }

    /** Where the daemon answers the CLI. */
    public Path socket() {
      return runDir.resolve("understudyd.sock");
    }
  }

  /**
   * Defaults of a protection.
   *
   * @param fast share of the guest's RAM that the standby keeps in RAM
   * @param medium share of the guest's RAM that the standby keeps raw on disk
   * @param stagingBytes RAM that one protection may use for an epoch on its way
   * @param startUnheard whether a guest that was protected here may be started by hand although
   *     nobody can say whether the standby host has taken over
   */
  public record Protect(
      int intervalMs,
      Budget fast,
      Budget medium,
      long stagingBytes,
      Timing timing,
      boolean startUnheard,
      Hold hold) {}

  /**
   * Holding back what a guest sends until the epoch is committed.
   *
   * @param byDefault whether protections do it that were not asked
   * @param limitMs longest time without a commit before output goes out uncommitted; 0: for ever
   * @param bytes room for each network interface
   */
  public record Hold(boolean byDefault, int limitMs, int bytes) {}

  /** libvirt's hook as it has to be on this host. */
  public QemuHook hook() {
    return new QemuHook(host.name(), host.stateDir(), host.runDir(), protect.startUnheard());
  }

  /**
   * Deadlines of a protection.
   *
   * @param pauseDeadlineMs longest pause of the guest before the guard ends it
   * @param heartbeatMs how often the hosts tell each other that they are there
   * @param silentAfterMs how long a silence counts as a failure
   * @param autoFailover whether a failure leads to fence and failover by itself
   */
  public record Timing(
      int pauseDeadlineMs, int heartbeatMs, int silentAfterMs, boolean autoFailover) {}

  /**
   * How to make sure that the other host no longer runs the guest.
   *
   * @param script the fence script, or empty for the provider {@code none}
   */
  public record Fencing(Optional<Path> script, Duration timeout) {}

  /**
   * Reads and checks the file.
   *
   * @throws IOException with one sentence naming file, section.key, what was found and what is
   *     expected
   */
  public static DaemonConfig read(Path file) throws IOException {
    ConfigFile values = ConfigFile.read(file);
    Host host = host(values);
    Timing timing =
        new Timing(
            values.number("protect.pause-deadline-ms", 500, 10, 60_000),
            values.number("protect.heartbeat-ms", 200, 10, 60_000),
            values.number("protect.silent-after-ms", 1500, 50, 600_000),
            values.yes("protect.auto-failover", true));
    if (timing.silentAfterMs() < 3 * timing.heartbeatMs()) {
      throw values.wrong(
          "protect.silent-after-ms",
          "at least three heartbeats, %d ms".formatted(3 * timing.heartbeatMs()));
    }
    Protect protect =
        new Protect(
            values.number("protect.interval-ms", 1000, 20, 3_600_000),
            values.parsed("protect.fast", "25%", Budget::parse),
            values.parsed("protect.medium", "100%", Budget::parse),
            (long) values.number("protect.staging-mib", 128, 8, 65_536) << 20,
            timing,
            values
                .matching("protect.start-unheard", "allow", "allow|refuse", "allow or refuse")
                .equals("allow"),
            hold(values, timing));
    String uri = values.matching("libvirt.uri", "qemu:///system", "[a-z+]+://.*", "a libvirt URI");
    Fencing fencing = fencing(values);
    Path tiers = values.path("tiers.dir", host.stateDir().resolve("tiers").toString());
    values.refuseUnread();
    return new DaemonConfig(host, uri, protect, fencing, tiers);
  }

  private static Hold hold(ConfigFile values, Timing timing) throws IOException {
    Hold hold =
        new Hold(
            values.yes("protect.hold-output", false),
            values.number("protect.hold-limit-ms", 5000, 0, 3_600_000),
            values.number("protect.hold-mib", 32, 1, 1024) << 20);
    if (hold.limitMs() != 0 && hold.limitMs() < 2 * timing.silentAfterMs()) {
      // Sooner, and a standby host that is about to take over would find its work undone.
      throw values.wrong(
          "protect.hold-limit-ms",
          "0 for ever, or at least twice protect.silent-after-ms, %d ms"
              .formatted(2 * timing.silentAfterMs()));
    }
    return hold;
  }

  private static Host host(ConfigFile values) throws IOException {
    Host host =
        new Host(
            values.matching(
                "host.name",
                ConfigFile.kernelHostName(),
                "[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
                "1 to 63 letters, digits, dots, dashes or underlines"),
            values.path("host.state-dir", "/var/lib/understudy"),
            values.path("host.run-dir", "/run/understudy"),
            values.parsed("host.listen", "0.0.0.0:16520", HostPort::parse),
            values.number("host.guard-listen", 16521, 1, 65_535),
            values.matching(
                "host.guard-address", "same", "[A-Za-z0-9_.:%-]+", "a host or an address"));
    int room = LocalServer.LONGEST_SOCKET_PATH - "/understudyd.sock".length();
    if (host.runDir().toString().length() > room) {
      throw values.wrong("host.run-dir", "at most %d characters".formatted(room));
    }
    return host;
  }

  private static Fencing fencing(ConfigFile values) throws IOException {
    Duration timeout = Duration.ofMillis(values.number("fence.timeout-ms", 30_000, 100, 3_600_000));
    return switch (values.required("fence.provider", "exec (a script) or none (no fence)")) {
      case "exec" -> {
        values.required("fence.exec", "the path of a fence script, since fence.provider is exec");
        yield new Fencing(Optional.of(values.executable("fence.exec")), timeout);
      }
      case "none" -> {
        if (values.has("fence.exec")) {
          throw values.wrong("fence.exec", "nothing, since fence.provider is none");
        }
        yield new Fencing(Optional.empty(), timeout);
      }
      default -> throw values.wrong("fence.provider", "exec (a script) or none (no fence)");
    };
  }
}
