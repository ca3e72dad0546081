package org.understudy.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.understudy.daemon.DaemonConfig;
import org.understudy.daemon.LocalClient;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/** The command line: exit code 0 when it was done, 1 with one sentence when not. */
@Command(
    name = "understudy",
    description = "Keeps paused copies of running libvirt/QEMU virtual machines on other hosts.",
    subcommands = {
      DaemonVerbs.Protect.class,
      DaemonVerbs.Unprotect.class,
      DaemonVerbs.ListDomains.class,
      DaemonVerbs.Status.class,
      DaemonVerbs.Failover.class,
      DaemonVerbs.Switchover.class,
      DaemonVerbs.Claim.class,
      DaemonVerbs.Events.class,
      DaemonVerbs.Doctor.class,
      TrustVerbs.Identity.class,
      TrustVerbs.Trust.class,
      TrustVerbs.Trusted.class,
      TrustVerbs.Untrust.class,
      HookVerb.class,
      VersionVerb.class
    })
public final class Understudy {
  private final PrintStream out;
  private final PrintStream err;

  @Option(
      names = "--config",
      paramLabel = "FILE",
      scope = ScopeType.INHERIT,
      defaultValue = "/etc/understudy/understudy.conf",
      description = "configuration of this host (default: ${DEFAULT-VALUE})")
  private Path config = DaemonConfig.DEFAULT_FILE;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      scope = ScopeType.INHERIT,
      description = "show this help")
  @SuppressWarnings("UnusedVariable") // picocli shows the help by itself
  private boolean help;

  private Understudy(PrintStream out, PrintStream err) {
    this.out = out;
    this.err = err;
  }

  /** Runs one command and exits. */
  public static void main(String[] args) {
    System.exit(run(utf8(FileDescriptor.out), utf8(FileDescriptor.err), args));
  }

  /**
   * Runs one command.
   *
   * @return the exit code: 0 or 1
   */
  public static int run(PrintStream out, PrintStream err, String... args) {
    CommandLine line = new CommandLine(new Understudy(out, err));
    line.setOut(new PrintWriter(out, true, StandardCharsets.UTF_8));
    line.setErr(new PrintWriter(err, true, StandardCharsets.UTF_8));
    line.getCommandSpec().exitCodeOnInvalidInput(1);
    for (CommandLine verb : line.getSubcommands().values()) {
      verb.getCommandSpec().exitCodeOnInvalidInput(1);
    }
    line.setExecutionExceptionHandler(
        (e, command, parsed) -> {
          err.println("error: " + (e.getMessage() == null ? e.toString() : e.getMessage()));
          return 1;
        });
    if (args.length == 0) {
      line.usage(err);
      return 1;
    }
    return line.execute(args);
  }

  PrintStream out() {
    return out;
  }

  PrintStream err() {
    return err;
  }

  DaemonConfig config() throws IOException {
    return DaemonConfig.read(config);
  }

  /** Sends one request to the daemon and prints its answer. */
  int ask(String verb, ObjectNode args) throws IOException {
    return new LocalClient(config().host().socket()).call(verb, args, out, err);
  }

  private static PrintStream utf8(FileDescriptor descriptor) {
    return new PrintStream(new FileOutputStream(descriptor), true, StandardCharsets.UTF_8);
  }
}
