package org.understudy.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.concurrent.Callable;
import org.understudy.daemon.Budget;
import org.understudy.json.JsonLines;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ParentCommand;

/**
 * The verbs that the daemon does. Each sends one request named like itself; options that were not
 * given are left out, so that the daemon's configuration counts.
 */
final class DaemonVerbs {
  private DaemonVerbs() {}

  /** A verb that only sends its request. */
  abstract static class Request implements Callable<Integer> {
    @ParentCommand private Understudy understudy;

    abstract String verb();

    abstract void fill(ObjectNode args);

    @Override
    public final Integer call() throws Exception {
      ObjectNode args = JsonLines.object();
      fill(args);
      return understudy.ask(verb(), args);
    }
  }

  @Command(name = "protect", description = "Keep a paused copy of a running domain on HOST.")
  static final class Protect extends Request {
    @Parameters(paramLabel = "DOMAIN", description = "name or UUID of a running domain")
    private String domain;

    @Option(
        names = "--standby",
        required = true,
        paramLabel = "HOST",
        description = "trusted host that gets the copy")
    private String standby;

    @Option(
        names = "--interval",
        paramLabel = "TIME",
        converter = IntervalMs.class,
        description = "time between epochs, as 1s or 200ms (default: protect.interval-ms)")
    private Integer intervalMs;

    @Option(
        names = "--fast",
        paramLabel = "SHARE",
        description =
            "share of guest RAM that the standby keeps in RAM, as 25%% or 512MiB"
                + " (default: protect.fast)")
    private String fast;

    @Option(
        names = "--hold-output",
        negatable = true,
        description =
            "what the guest sends waits for the commit of its epoch: nothing that the outside saw"
                + " is rolled back (default: protect.hold-output)")
    private Boolean holdOutput;

    @Override
    String verb() {
      return "protect";
    }

    @Override
    void fill(ObjectNode args) {
      args.put("domain", domain).put("standby", standby);
      if (intervalMs != null) {
        args.put("intervalMs", intervalMs);
      }
      if (fast != null) {
        args.put("fast", Budget.parse(fast).toString());
      }
      if (holdOutput != null) {
        args.put("holdOutput", holdOutput);
      }
    }
  }

  @Command(name = "unprotect", description = "End a domain's protection; the guest runs on.")
  static final class Unprotect extends Request {
    @Parameters(paramLabel = "DOMAIN", description = "name or UUID")
    private String domain;

    @Option(
        names = "--force",
        description = "although the standby host cannot be told: understudyd is off there for good")
    private boolean force;

    @Override
    String verb() {
      return "unprotect";
    }

    @Override
    void fill(ObjectNode args) {
      args.put("domain", domain).put("force", force);
    }
  }

  @Command(
      name = "list",
      description = "List the domains that this host protects or stands by for.")
  static final class ListDomains extends Request {
    @Override
    String verb() {
      return "list";
    }

    @Override
    void fill(ObjectNode args) {}
  }

  @Command(name = "status", description = "Show how protections stand.")
  static final class Status extends Request {
    @Parameters(paramLabel = "DOMAIN", arity = "0..1", description = "name or UUID (default: all)")
    private String domain;

    @Option(names = "--json", description = "print one JSON object")
    private boolean json;

    @Override
    String verb() {
      return "status";
    }

    @Override
    void fill(ObjectNode args) {
      if (domain != null) {
        args.put("domain", domain);
      }
      args.put("json", json);
    }
  }

  @Command(
      name = "failover",
      description = "Fence the primary host, then let the copy on this host run.")
  static final class Failover extends Request {
    @Parameters(paramLabel = "DOMAIN", description = "name or UUID of a domain on standby here")
    private String domain;

    @Option(
        names = "--force",
        description = "without a fence: YOU make sure that the primary does not run")
    private boolean force;

    @Override
    String verb() {
      return "failover";
    }

    @Override
    void fill(ObjectNode args) {
      args.put("domain", domain).put("force", force);
    }
  }

  @Command(
      name = "switchover",
      description = "Move a protected domain to its standby host; nothing is lost.")
  static final class Switchover extends Request {
    @Parameters(paramLabel = "DOMAIN", description = "name or UUID of a domain protected here")
    private String domain;

    @Override
    String verb() {
      return "switchover";
    }

    @Override
    void fill(ObjectNode args) {
      args.put("domain", domain);
    }
  }

  @Command(
      name = "claim",
      description = {
        "Make this host the owner of a guest that another one owns, so that it may be started here.",
        "The other host has to agree: the guest does not run there."
      })
  static final class Claim extends Request {
    @Parameters(paramLabel = "DOMAIN", description = "name or UUID of a domain known here")
    private String domain;

    @Option(
        names = "--force",
        description = "without asking: YOU make sure that it does not run there, now or later")
    private boolean force;

    @Override
    String verb() {
      return "claim";
    }

    @Override
    void fill(ObjectNode args) {
      args.put("domain", domain).put("force", force);
    }
  }

  @Command(name = "events", description = "Show what has happened.")
  static final class Events extends Request {
    @Option(
        names = {"-f", "--follow"},
        description = "go on with what happens, until interrupted")
    private boolean follow;

    @Override
    String verb() {
      return "events";
    }

    @Override
    void fill(ObjectNode args) {
      args.put("follow", follow);
    }
  }

  @Command(
      name = "doctor",
      description = "Check this host, a domain, and a standby host, without changing anything.")
  static final class Doctor extends Request {
    @Parameters(
        paramLabel = "DOMAIN",
        arity = "0..1",
        description = "can this domain be protected?")
    private String domain;

    @Option(
        names = "--standby",
        paramLabel = "HOST",
        description = "can this trusted host be its standby?")
    private String standby;

    @Override
    String verb() {
      return "doctor";
    }

    @Override
    void fill(ObjectNode args) {
      if (domain != null) {
        args.put("domain", domain);
      }
      if (standby != null) {
        args.put("standby", standby);
      }
    }
  }
}
