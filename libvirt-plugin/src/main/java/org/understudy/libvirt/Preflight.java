package org.understudy.libvirt;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.understudy.libvirt.DomainState.Run;
import org.understudy.libvirt.Finding.Refused;
import org.understudy.qmp.QmpCommand;

/** Whether a domain can be protected where it runs; asks, changes nothing. */
public final class Preflight {
  private static final String SAVE = "xen-save-devices-state";

  private Preflight() {}

  /**
   * Looks at the domain's XML, at its QEMU and at how libvirt runs QEMU.
   *
   * @param conf the host's qemu.conf
   * @return findings, the first refused one first; none means that it can be protected
   * @throws IOException libvirt or QEMU does not answer
   */
  public static List<Finding> check(LibvirtDomain domain, QemuConf conf) throws IOException {
    DomainState state = domain.state();
    if (state.run() != Run.RUNNING && state.run() != Run.BLOCKED) {
      return List.of(
          new Refused(
              "domain "
                  + domain.name()
                  + " is "
                  + state
                  + "; "
                  + (state.run().active() ? "resume" : "start")
                  + " it first"));
    }
    List<Finding> findings = new ArrayList<>(DomainRules.judge(DomainXml.parse(domain.xml())));
    if (!conf.lockManager().isEmpty()) {
      findings.add(
          new Refused(
              "libvirt on this host uses lock manager "
                  + conf.lockManager()
                  + ", whose leases every epoch's pause would give up for good; set lock_manager ="
                  + " \"nop\" in "
                  + conf.file()));
    }
    findings.addAll(
        judgeMonitor(
            domain.name(),
            domain.qmp(QmpCommand.of("query-commands")),
            domain.qmp(QmpCommand.of("query-status")),
            domain.qmp(QmpCommand.of("query-migrate"))));
    return refusedFirst(findings);
  }

  /**
   * The same for a domain that is protected already and may have been changed since; it need not
   * run just now.
   */
  public static List<Finding> again(LibvirtDomain domain) throws IOException {
    List<Finding> findings = new ArrayList<>(DomainRules.judge(DomainXml.parse(domain.xml())));
    findings.addAll(judgeMigration(domain.name(), domain.qmp(QmpCommand.of("query-migrate"))));
    return refusedFirst(findings);
  }

  /** Judges what QEMU itself answered. */
  static List<Finding> judgeMonitor(
      String name, JsonNode commands, JsonNode status, JsonNode migration) {
    List<Finding> findings = new ArrayList<>();
    if (commands.findValuesAsText("name").stream().noneMatch(SAVE::equals)) {
      findings.add(
          new Refused(
              "the QEMU of domain "
                  + name
                  + " has no command "
                  + SAVE
                  + ", which every epoch needs; run it with a QEMU that has it, such as"
                  + " Debian's"));
    }
    if (!status.path("status").asText().equals("running")) {
      findings.add(
          new Refused(
              "the QEMU of domain "
                  + name
                  + " says \""
                  + status.path("status").asText()
                  + "\", expected \"running\"; resume it first"));
    }
    findings.addAll(judgeMigration(name, migration));
    return findings;
  }

  private static List<Finding> judgeMigration(String name, JsonNode migration) {
    List<Finding> findings = new ArrayList<>();
    for (JsonNode reason : migration.path("blocked-reasons")) {
      findings.add(
          new Refused(
              "the QEMU of domain "
                  + name
                  + " cannot be migrated, as it says: "
                  + reason.asText()));
    }
    String going = migration.path("status").asText("none");
    if (List.of("setup", "active", "pre-switchover", "device", "postcopy-active", "colo")
        .contains(going)) {
      findings.add(
          new Refused(
              "domain " + name + " is being migrated or saved (" + going + "); wait for its end"));
    }
    return findings;
  }

  private static List<Finding> refusedFirst(List<Finding> findings) {
    List<Finding> sorted = new ArrayList<>();
    findings.stream().filter(Refused.class::isInstance).forEach(sorted::add);
    findings.stream().filter(Finding.Warning.class::isInstance).forEach(sorted::add);
    return List.copyOf(sorted);
  }
}
