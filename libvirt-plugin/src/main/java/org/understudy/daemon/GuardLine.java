package org.understudy.daemon;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.UUID;
import org.understudy.capture.PauseGuard;
import org.understudy.guard.GuardClient;
import org.understudy.guard.GuardSettings;
import org.understudy.guard.ProcessIdentity;
import org.understudy.libvirt.LibvirtDomain;

/**
 * The daemon's line to the guard of one guest: the one that an earlier daemon left, or a new one.
 */
final class GuardLine implements AutoCloseable {
  private static final String LOGS = "/var/log/libvirt/qemu/";

  private final GuardClient client;
  private final GuardSettings settings;

  private final Path file;

  private GuardLine(GuardClient client, GuardSettings settings, Path file) {
    this.client = client;
    this.settings = settings;
    this.file = file;
  }

  /**
   * Attaches to the guard of this QEMU, or starts one.
   *
   * @param standbyHost where its heartbeats go
   * @param standbyPort their UDP port
   */
  static GuardLine open(
      ThisHost host, LibvirtDomain domain, int qemuPid, String standbyHost, int standbyPort)
      throws IOException {
    ProcessIdentity qemu = ProcessIdentity.of(qemuPid);
    Path file = file(host, domain.uuid());
    if (Files.exists(file)) {
      GuardSettings left = GuardSettings.read(file);
      try {
        GuardClient client = GuardClient.attach(left.socket());
        if (left.qemu().equals(qemu)
            && left.standbyHost().equals(standbyHost)
            && left.standbyPort() == standbyPort) {
          return new GuardLine(client, left, file);
        }
        client.finish(); // of an earlier QEMU, or for another standby
      } catch (IOException gone) {
        // nobody there, a new one is started
      }
    }
    Files.createDirectories(file.getParent());
    var timing = host.config().protect().timing();
    GuardSettings settings =
        GuardSettings.of(
                qemu,
                host.config()
                    .host()
                    .runDir()
                    .resolve("g-" + domain.uuid().toString().substring(0, 13)),
                standbyHost,
                standbyPort,
                whyItEnded(host.config().libvirtUri(), domain))
            .withTimes(timing.heartbeatMs(), timing.pauseDeadlineMs(), 5_000);
    return new GuardLine(start(host, domain, settings, file), settings, file);
  }

  private static GuardClient start(
      ThisHost host, LibvirtDomain domain, GuardSettings settings, Path file) throws IOException {
    if (GuardScope.available()) {
      try {
        return GuardClient.start(settings, file, GuardScope.launcher(settings.session()));
      } catch (IOException e) {
        host.events()
            .add(
                domain.name(),
                "the guard has no control group of its own and ends with the daemon's: "
                    + e.getMessage());
      }
    }
    return GuardClient.start(settings, file, GuardScope.SESSION);
  }

  /**
   * Asks libvirt why a domain ended, and where it has forgotten a transient one, libvirt's log of
   * it.
   */
  private static List<String> whyItEnded(String uri, LibvirtDomain domain) {
    String ask =
        "virsh -c \"$1\" domstate --reason \"$2\" 2>/dev/null || awk '/: starting up / { why = \"\" }"
            + " /: shutting down, reason=/ { sub(/.*reason=/, \"\"); why = $0 }"
            + " END { if (why) print \"shut off (\" why \")\" }' \"$3\"";
    return List.of(
        "sh", "-c", ask, "sh", uri, domain.uuid().toString(), LOGS + domain.name() + ".log");
  }

  private static Path file(ThisHost host, UUID domain) {
    return host.config().host().stateDir().resolve("guards").resolve(domain + ".guard");
  }

  PauseGuard pauses() {
    return client;
  }

  UUID session() {
    return settings.session();
  }

  /** The key that signs its datagrams, in hexadecimal. */
  String key() {
    return settings.key();
  }

  /** Has the guard watch the holder of the guest's output, whose settings are in a file. */
  void watchOutput(ProcessIdentity holder, Path settingsFile) throws IOException {
    client.watchOutput(holder, settingsFile);
  }

  /** Tells the guard that output is held no longer. */
  void forgetOutput() throws IOException {
    client.forgetOutput();
  }

  /** Tells the guard that somebody ended the guest who meant it. */
  void endsOnPurpose() throws IOException {
    client.endsOnPurpose();
  }

  /** Protection has ended: ends the guard; its key is of no use any more. */
  void finish() throws IOException {
    client.finish();
    Files.deleteIfExists(file);
  }

  /** Lets go of the guard, which stays. */
  @Override
  public void close() {
    try {
      client.close();
    } catch (IOException e) {
      // the socket is gone either way
    }
  }
}
