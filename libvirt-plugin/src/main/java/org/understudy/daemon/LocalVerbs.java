package org.understudy.daemon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.understudy.dirtylog.DirtyLogs;
import org.understudy.libvirt.Finding;
import org.understudy.libvirt.HostDoctor;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.NetworkFilters;
import org.understudy.libvirt.Preflight;
import org.understudy.libvirt.QemuConf;

/** What the command line may ask of the daemon. */
final class LocalVerbs {
  private static final long FIRST_COPY_MS = 600_000;
  private static final ObjectMapper JSON = new ObjectMapper();

  private final ThisHost host;
  private final OwnershipWatch ownership;
  private final Protections protections;
  private final Standbys standbys;

  LocalVerbs(ThisHost host, OwnershipWatch ownership, Protections protections, Standbys standbys) {
    this.host = host;
    this.ownership = ownership;
    this.protections = protections;
    this.standbys = standbys;
  }

  Map<String, LocalVerb> verbs() {
    return Map.of(
        "protect", this::protect,
        "unprotect", this::unprotect,
        "list", (args, reply) -> reply.out(list()),
        "status", this::status,
        "failover", this::failover,
        "switchover", this::switchover,
        "claim", this::claim,
        "events", this::events,
        "doctor", this::doctor);
  }

  private void protect(ObjectNode args, Reply reply) throws IOException, InterruptedException {
    DaemonConfig.Protect defaults = host.config().protect();
    Ownership.Settings settings =
        new Ownership.Settings(
            args.path("intervalMs").asInt(defaults.intervalMs()),
            Budget.parse(args.path("fast").asText(defaults.fast().toString())),
            args.path("holdOutput").asBoolean(defaults.hold().byDefault()));
    Protection protection =
        protections.protect(
            args.required("domain").asText(), args.required("standby").asText(), settings);
    List<Finding> findings = new ArrayList<>(HostFindings.of(host));
    try {
      findings.addAll(HostFindings.ask(host, args.required("standby").asText()));
    } catch (IOException e) {
      findings.add(new Finding.Warning(e.getMessage())); // the protection has begun all the same
    }
    for (Finding finding : findings) {
      reply.err("warning: " + finding.sentence());
      host.events().add(protection.domain().name(), "warning: " + finding.sentence());
    }
    follow(protection, reply);
  }

  /** Shows the events of a new protection until its first epoch is committed. */
  private void follow(Protection protection, Reply reply) throws IOException, InterruptedException {
    long deadline = System.nanoTime() + FIRST_COPY_MS * 1_000_000;
    Protection.State last = null;
    while (System.nanoTime() - deadline < 0 && reply.isOpen()) {
      Protection.State state = protection.state();
      switch (state) {
        case PROTECTED -> {
          reply.out("domain " + protection.domain().name() + " is protected");
          return;
        }
        case DEGRADED -> {
          // Nothing was ever committed: the operator decides anew, nothing is left behind.
          String why = protection.reason();
          protections.abandon(protection);
          throw new IOException(why);
        }
        case ENDED -> throw new IOException(protection.reason());
        default -> {
          if (state != last) {
            reply.out(
                state == Protection.State.COPYING ? "copying the guest's memory" : "connecting");
          }
        }
      }
      last = state;
      Thread.sleep(50);
    }
  }

  private void unprotect(ObjectNode args, Reply reply) throws IOException, InterruptedException {
    protections.unprotect(args.required("domain").asText(), args.path("force").asBoolean());
    reply.out("domain " + args.required("domain").asText() + " is no longer protected");
  }

  private String list() throws IOException {
    Table table = new Table("domain", "role", "state", "epoch", "generation");
    for (Protection protection : protections.all()) {
      row(table, protection.status());
    }
    for (Standby standby : standbys.all()) {
      row(table, standby.status());
    }
    for (ObjectNode known : ownership.status()) {
      row(table, known);
    }
    return table.toString();
  }

  private static void row(Table table, ObjectNode status) {
    JsonNode epoch = status.has("epoch") ? status.get("epoch") : status.path("committed");
    table.row(
        status.path("domain").asText(),
        status.path("role").asText(),
        status.path("state").asText(),
        epoch.asText("-"),
        status.path("generation").asLong());
  }

  private void status(ObjectNode args, Reply reply) throws IOException {
    String asked = args.path("domain").asText("");
    int found = 0;
    for (ObjectNode each : allStatus()) {
      if (asked.isEmpty()
          || asked.equals(each.path("domain").asText())
          || asked.equals(each.path("uuid").asText())) {
        found++;
        reply.out(
            args.path("json").asBoolean()
                ? JSON.writerWithDefaultPrettyPrinter().writeValueAsString(each)
                : StatusText.of(each));
      }
    }
    if (found == 0 && !asked.isEmpty()) {
      throw new IOException("domain " + asked + " is neither protected nor on standby here");
    }
  }

  private List<ObjectNode> allStatus() throws IOException {
    List<ObjectNode> all = new ArrayList<>();
    protections.all().forEach(each -> all.add(each.status()));
    standbys.all().forEach(each -> all.add(each.status()));
    all.addAll(ownership.status());
    return all;
  }

  private void claim(ObjectNode args, Reply reply) throws IOException {
    reply.out(ownership.claim(args.required("domain").asText(), args.path("force").asBoolean()));
  }

  private void failover(ObjectNode args, Reply reply) throws IOException, InterruptedException {
    Standby standby = standbys.named(args.required("domain").asText());
    ObjectNode report =
        standbys.failover(
            standby.order().primary().uuid(),
            "the operator asked for it",
            args.path("force").asBoolean());
    reply.out("domain " + standby.order().primary().name() + " runs here");
    reply.out(StatusText.of(report));
  }

  private void switchover(ObjectNode args, Reply reply) throws IOException, InterruptedException {
    Protection protection = protections.named(args.required("domain").asText());
    ObjectNode report = protection.switchover();
    reply.out("domain " + protection.domain().name() + " runs on " + protection.ownership().peer());
    reply.out(StatusText.of(report));
  }

  private void events(ObjectNode args, Reply reply) throws InterruptedException {
    long last = 0;
    for (EventLog.Event event : host.events().after(0)) {
      reply.out(event.toString());
      last = event.number();
    }
    while (args.path("follow").asBoolean() && reply.isOpen()) {
      for (EventLog.Event event : host.events().awaitAfter(last, 500)) {
        reply.out(event.toString());
        last = event.number();
      }
    }
  }

  private void doctor(ObjectNode args, Reply reply) throws IOException {
    boolean well = true;
    HostDoctor.Diagnosis diagnosis = HostDoctor.examine(host.config().libvirtUri());
    diagnosis.facts().forEach(reply::out);
    for (DirtyLogs.Availability each : DirtyLogs.probe()) {
      reply.out(
          "dirty log "
              + each.method()
              + (each.available() ? " works: " : " does not work: ")
              + each.reason());
    }
    reply.out("fence " + host.fence().description());
    reply.out(host.config().hook().fact());
    well &= tell(diagnosis.findings(), reply);
    well &= tell(HostFindings.of(host), reply);
    well &=
        tell(
            Installation.examine(
                Path.of("/"),
                host.config(),
                QemuConf.of(host.config().libvirtUri()),
                !host.trusted().all().isEmpty()),
            reply);
    String name = args.path("domain").asText("");
    if (!name.isEmpty()) {
      LibvirtDomain domain = host.libvirt().domain(name);
      well &= tell(Preflight.check(domain, QemuConf.of(host.config().libvirtUri())), reply);
      if (domain.state().run().active()) {
        List<Finding> hold = NetworkFilters.check(domain);
        hold.forEach(finding -> reply.out("note: " + finding.sentence()));
        if (hold.isEmpty()) {
          reply.out("the domain's output can be held until it is committed (--hold-output)");
        }
      }
    }
    String standby = args.path("standby").asText("");
    if (!standby.isEmpty()) {
      reply.out(
          "standby host "
              + standby
              + " answers, and hears guards at "
              + StandbyLink.guardAddress(host, host.trusted().named(standby)));
      well &= tell(HostFindings.ask(host, standby), reply);
    }
    if (!well) {
      throw new IOException("something stands in the way of protection, see above");
    }
    reply.out("nothing stands in the way");
  }

  private static boolean tell(List<Finding> findings, Reply reply) {
    for (Finding finding : findings) {
      reply.out(
          (finding instanceof Finding.Refused ? "refused: " : "warning: ") + finding.sentence());
    }
    return Finding.allows(findings);
  }
}
