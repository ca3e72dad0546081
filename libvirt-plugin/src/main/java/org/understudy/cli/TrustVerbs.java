package org.understudy.cli;

import java.io.Console;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Callable;
import org.understudy.daemon.DaemonConfig;
import org.understudy.daemon.Table;
import org.understudy.ssh.HostIdentity;
import org.understudy.ssh.HostPort;
import org.understudy.ssh.PeerClient;
import org.understudy.ssh.PeerKey;
import org.understudy.ssh.SshSettings;
import org.understudy.ssh.TrustedPeer;
import org.understudy.ssh.TrustedPeers;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/** The verbs about identity and trust. They work on the state directory, without the daemon. */
final class TrustVerbs {
  private static final Duration FETCH_DEADLINE = Duration.ofSeconds(10);

  private TrustVerbs() {}

  @Command(name = "identity", description = "Show this host's key, making it at the first call.")
  static final class Identity implements Callable<Integer> {
    @ParentCommand private Understudy understudy;

    @Override
    public Integer call() throws IOException {
      DaemonConfig.Host host = understudy.config().host();
      PeerKey key = HostIdentity.loadOrCreate(host.stateDir()).publicKey();
      understudy.out().printf("key          %s%n", key.line());
      understudy.out().printf("fingerprint  %s%n", key.fingerprint());
      understudy.out().printf("name         %s%n", host.name());
      understudy.out().printf("listens at   %s%n", host.listen());
      return 0;
    }
  }

  @Command(
      name = "trust",
      description = {
        "Trust another host: it may connect here, and is known by its key. The other host has to"
            + " trust this one, too.",
        "Without --key the key is fetched from the host; it counts only if its fingerprint is the"
            + " given one, or you say yes."
      })
  static final class Trust implements Callable<Integer> {
    @ParentCommand private Understudy understudy;

    @Parameters(index = "0", paramLabel = "NAME", description = "what to call it here")
    private String name;

    @Parameters(index = "1", paramLabel = "HOST:PORT", description = "where its daemon listens")
    private String address;

    @Option(
        names = "--fingerprint",
        paramLabel = "SHA256:…",
        description = "what 'understudy identity' shows on that host")
    private String fingerprint;

    @Option(
        names = "--key",
        paramLabel = "'TYPE AAAA…'",
        description = "the key itself, as 'understudy identity' shows it on that host")
    private String givenKey;

    @Option(names = "--yes", description = "believe whatever key the host shows")
    private boolean yes;

    @Override
    public Integer call() throws IOException {
      Path stateDir = understudy.config().host().stateDir();
      HostIdentity own = HostIdentity.loadOrCreate(stateDir);
      HostPort where = HostPort.parse(address);
      PeerKey key = givenKey == null ? fetched(own, where) : PeerKey.parse(givenKey);
      if (own.publicKey().matches(key.key())) {
        throw new IOException("%s is this host's own key".formatted(key.fingerprint()));
      }
      if (fingerprint != null && !fingerprint.equals(key.fingerprint())) {
        throw new IOException(
            "%s at %s has the key %s, expected %s: nothing was changed"
                .formatted(name, where, key.fingerprint(), fingerprint));
      }
      if (fingerprint == null && givenKey == null && !yes && !confirmed(where, key)) {
        throw new IOException("not confirmed: nothing was changed");
      }
      new TrustedPeers(stateDir).add(new TrustedPeer(name, where, key));
      understudy
          .out()
          .printf("%s at %s is trusted with the key %s%n", name, where, key.fingerprint());
      return 0;
    }

    private PeerKey fetched(HostIdentity own, HostPort where) throws IOException {
      try (PeerClient client = new PeerClient(own, "enrolment", SshSettings.DEFAULT)) {
        return client.fetchKey(where, FETCH_DEADLINE);
      }
    }

    @SuppressWarnings("SystemConsoleNull") // from Java 22 on, readLine returns null instead
    private boolean confirmed(HostPort where, PeerKey key) throws IOException {
      Console console = System.console();
      if (console == null) {
        throw new IOException(
            "%s at %s shows the key %s, and there is no terminal to ask whether that is right; use --fingerprint, --key or --yes"
                .formatted(name, where, key.fingerprint()));
      }
      String answer =
          console.readLine(
              "%s at %s shows the key %s%nIs that what 'understudy identity' shows there? (yes/no) ",
              name, where, key.fingerprint());
      return "yes".equals(answer);
    }
  }

  @Command(name = "trusted", description = "List the hosts that this one trusts.")
  static final class Trusted implements Callable<Integer> {
    @ParentCommand private Understudy understudy;

    @Override
    public Integer call() throws IOException {
      Table table = new Table("Name", "Address", "Fingerprint");
      for (TrustedPeer peer : new TrustedPeers(understudy.config().host().stateDir()).all()) {
        table.row(peer.name(), peer.address(), peer.key().fingerprint());
      }
      understudy.out().println(table);
      return 0;
    }
  }

  @Command(name = "untrust", description = "Trust a host no longer, from its next connection on.")
  static final class Untrust implements Callable<Integer> {
    @ParentCommand private Understudy understudy;

    @Parameters(paramLabel = "NAME", description = "what it is called here")
    private String name;

    @Override
    public Integer call() throws IOException {
      new TrustedPeers(understudy.config().host().stateDir()).remove(name);
      understudy.out().printf("%s is no longer trusted%n", name);
      return 0;
    }
  }
}
