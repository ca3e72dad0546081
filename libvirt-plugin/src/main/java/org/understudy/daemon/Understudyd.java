package org.understudy.daemon;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.fence.Fence;
import org.understudy.guard.GuardListener;
import org.understudy.libvirt.LibvirtHost;
import org.understudy.ssh.ControlService;
import org.understudy.ssh.HostIdentity;
import org.understudy.ssh.PeerClient;
import org.understudy.ssh.PeerServer;
import org.understudy.ssh.SshSettings;
import org.understudy.ssh.TrustedPeers;

/** The daemon of a host: {@code understudyd [--config FILE]}. */
public final class Understudyd {
  private static final Logger log = LoggerFactory.getLogger(Understudyd.class);

  private Understudyd() {}

  /** Runs until SIGTERM. Exit code 1 with one sentence if it cannot start. */
  public static void main(String[] arguments) throws InterruptedException {
    try {
      serve(DaemonConfig.read(configFile(List.of(arguments))));
    } catch (IOException e) {
      System.err.println("understudyd: " + e.getMessage());
      System.exit(1);
    }
  }

  private static Path configFile(List<String> arguments) throws IOException {
    if (arguments.isEmpty()) {
      return DaemonConfig.DEFAULT_FILE;
    }
    if (arguments.size() == 2 && arguments.get(0).equals("--config")) {
      return Path.of(arguments.get(1));
    }
    throw new IOException("usage: understudyd [--config FILE]");
  }

  // Everything opened here lives until the process ends.
  @SuppressWarnings("resource")
  private static void serve(DaemonConfig config) throws IOException, InterruptedException {
    Watchdog.startIfAsked(System.getenv());
    SshSettings ssh = SshSettings.DEFAULT;
    HostIdentity identity = HostIdentity.loadOrCreate(config.host().stateDir());
    TrustedPeers trusted = new TrustedPeers(config.host().stateDir());
    ThisHost host =
        new ThisHost(
            config,
            LibvirtHost.openWhenThere(config.libvirtUri()),
            new OwnershipStore(config.host().stateDir()),
            trusted,
            new PeerClient(identity, config.host().name(), ssh),
            Fence.of(config.fencing().script(), config.fencing().timeout()),
            new EventLog());
    GuardListener guards =
        new GuardListener(
            new java.net.InetSocketAddress(
                config.host().guardsElsewhere().orElse(config.host().listen().host()),
                config.host().guardPort()));
    Generations generations = new Generations(host);
    Protections protections = new Protections(host, generations);
    Standbys standbys = new Standbys(host, guards, protections);
    OwnershipWatch ownership = new OwnershipWatch(host, generations, protections);
    LocalServer.start(
        config.host().socket(), new LocalVerbs(host, ownership, protections, standbys).verbs());
    StartQuestions.start(host, generations);
    PeerServer.start(
        identity,
        trusted,
        config.host().listen(),
        Map.of(
            "control",
            new ControlService(new PeerVerbs(host, standbys, guards).verbs()),
            "epochs",
            standbys::serveEpochs),
        ssh);
    standbys.resume();
    protections.resume();
    ownership.start();
    log.info("understudyd of host {} answers at {}", host.name(), config.host().listen());
    new CountDownLatch(1).await();
  }
}
