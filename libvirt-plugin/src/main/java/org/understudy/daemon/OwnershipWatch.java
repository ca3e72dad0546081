package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.libvirt.LibvirtDomain;

/**
 * Keeps what this host knows of generations true, in the thread {@code ownership}: a host that
 * comes back asks the standby host whether it has taken over before anything is started, a
 * protection that ended is told to the standby host until that one confirms it, and libvirt's
 * autostart is given back.
 */
final class OwnershipWatch {
  private static final Logger log = LoggerFactory.getLogger(OwnershipWatch.class);
  private static final long LOOK_MS = 1000;
  private static final Duration ASK = Duration.ofSeconds(5);

  private final ThisHost host;
  private final Generations generations;
  private final Protections protections;
  private boolean firstOfBoot;
  // What is said of a domain now, so that an event tells changes only.
  private final Map<UUID, String> said = new ConcurrentHashMap<>();

  OwnershipWatch(ThisHost host, Generations generations, Protections protections) {
    this.host = host;
    this.generations = generations;
    this.protections = protections;
  }

  /**
   * Watches from now on; for the daemon that holds this host's socket.
   *
   * @throws IOException the run directory, which tells whether the host has booted since, cannot be
   *     written
   */
  void start() throws IOException {
    Path booted = host.config().host().runDir().resolve("autostarted");
    firstOfBoot = !Files.exists(booted);
    if (firstOfBoot) {
      Files.createFile(booted); // as libvirt does it: once in the life of a host
    }
    Thread thread = new Thread(this::run, "ownership");
    thread.setDaemon(true);
    thread.start();
  }

  private void run() {
    try {
      while (true) {
        try {
          for (Ownership known : host.ownership().all()) {
            look(known);
          }
        } catch (IOException | RuntimeException e) {
          log.warn("ownership: {}", e.toString());
        }
        Thread.sleep(LOOK_MS);
      }
    } catch (InterruptedException e) {
      // asked to stop
    }
  }

  private void look(Ownership known) throws InterruptedException {
    try {
      switch (known.role()) {
        case PRIMARY -> primary(known);
        case ENDING -> ending(known);
        case OWNER -> giveAutostartBack(known);
        case FORMER -> tell(known, lostSentence(known));
        case STANDBY -> said.remove(known.domain());
      }
    } catch (IOException e) {
      tell(known, e.getMessage());
    }
  }

  private void primary(Ownership known) throws IOException, InterruptedException {
    Protection protection = protections.of(known.domain());
    if (protection == null) {
      returned(known);
      return;
    }
    switch (protection.state()) {
      case ENDED -> host.ownership().writeIf(known, known.as(Ownership.Role.ENDING));
      case DEGRADED -> {
        Generations.Word word = generations.ask(known.peer(), known.domain(), ASK);
        if (word.newerThan(known.generation())) {
          lose(known, word);
        }
      }
      default -> said.remove(known.domain());
    }
  }

  /** This host protected a guest that does not run here: it was away. */
  private void returned(Ownership known) throws IOException, InterruptedException {
    LibvirtDomain domain = host.libvirt().domainOrNull(known.domain());
    if (domain != null && domain.state().run().active()) {
      said.remove(known.domain());
      protections.goOn(domain, known);
      return;
    }
    Generations.Word word;
    try {
      word = generations.ask(known.peer(), known.domain(), ASK);
    } catch (IOException e) {
      throw new IOException(
          "it is not started: nobody can say whether host %s has taken over (%s). Make sure that it does not run there, then: understudy claim %s --force"
              .formatted(known.peer(), e.getMessage(), known.domainName()),
          e);
    }
    if (word.newerThan(known.generation())) {
      lose(known, word);
    } else if (word.generation() == 0) {
      host.events().add(known.domainName(), "host " + known.peer() + " stands by no more");
      settle(known, firstOfBoot && known.autostart() ? domain : null);
    } else if (firstOfBoot && known.autostart() && domain != null) {
      autostart(known, domain);
    } else {
      tell(
          known,
          "it does not run; host %s has not taken over, so it may be started here"
              .formatted(known.peer()));
    }
  }

  private void autostart(Ownership known, LibvirtDomain domain) throws IOException {
    Generations.Word word = generations.announceStart(known, ASK);
    if (word.takingOver() || word.newerThan(known.generation())) {
      tell(known, "it is not started: host " + known.peer() + " is taking over");
      return;
    }
    host.events()
        .add(
            known.domainName(),
            "host " + known.peer() + " has not taken over: started, as libvirt would have done");
    domain.start();
  }

  private void ending(Ownership known) throws IOException, InterruptedException {
    Generations.Word word = generations.ask(known.peer(), known.domain(), ASK);
    if (word.newerThan(known.generation())) {
      lose(known, word);
      return;
    }
    generations.release(known);
    settle(known, null);
  }

  private void settle(Ownership known, LibvirtDomain toStart) throws IOException {
    Ownership owner = known.as(Ownership.Role.OWNER);
    if (!host.ownership().writeIf(known, owner)) {
      return; // protected anew meanwhile
    }
    said.remove(known.domain());
    giveAutostartBack(owner);
    if (toStart != null) {
      toStart.start();
    }
  }

  /** libvirt starts the domain with its host again, if it did before protection. */
  void giveAutostartBack(Ownership mine) throws IOException {
    if (!mine.autostart()) {
      return;
    }
    LibvirtDomain domain = host.libvirt().domainOrNull(mine.domain());
    if (domain == null || domain.persistentXml() == null) {
      return; // a failover defines it a moment after this host owns it
    }
    domain.autostart(true);
    host.events().add(mine.domainName(), "libvirt starts it with its host again");
    host.ownership().writeIf(mine, mine.withAutostart(false));
  }

  /** Another host owns a newer generation: whatever of the guest runs here stops where it is. */
  private void lose(Ownership mine, Generations.Word word)
      throws IOException, InterruptedException {
    if (!host.ownership().writeIf(mine, mine.lostTo(word.owner(), word.generation()))) {
      return; // looked at again
    }
    String sentence = lostSentence(mine.lostTo(word.owner(), word.generation()));
    LibvirtDomain domain = host.libvirt().domainOrNull(mine.domain());
    if (domain != null) {
      if (domain.state().run().active()) {
        domain.suspend();
        host.events()
            .add(
                mine.domainName(),
                "WARNING: it ran here although host "
                    + word.owner()
                    + " owns generation "
                    + word.generation()
                    + ": suspended. Look at both, then: virsh destroy "
                    + mine.domainName());
      }
      if (domain.persistentXml() != null) {
        domain.autostart(false);
      }
    }
    protections.lose(mine.domain(), word.owner());
    tell(mine, sentence);
  }

  /**
   * Makes this host the owner of a domain.
   *
   * @param force without asking the other host
   * @return what was done, as a sentence
   */
  String claim(String nameOrUuid, boolean force) throws IOException {
    Ownership known = named(nameOrUuid);
    Protection protection = protections.of(known.domain());
    if (protection != null && !protection.isEnded()) {
      throw new IOException("domain " + known.domainName() + " is protected here");
    }
    if (known.role() == Ownership.Role.OWNER) {
      return "this host owns generation %d of domain %s already"
          .formatted(known.generation(), known.domainName());
    }
    if (known.role() == Ownership.Role.STANDBY) {
      throw new IOException(
          "domain %s is on standby here; to run it, use: understudy failover %s"
              .formatted(known.domainName(), known.domainName()));
    }
    Ownership claimed = generations.claim(known, known.peer(), force);
    said.remove(known.domain());
    giveAutostartBack(claimed);
    return "this host owns generation %d of domain %s; it is not protected"
        .formatted(claimed.generation(), claimed.domainName());
  }

  private Ownership named(String nameOrUuid) throws IOException {
    for (Ownership known : host.ownership().all()) {
      if (known.domainName().equals(nameOrUuid) || known.domain().toString().equals(nameOrUuid)) {
        return known;
      }
    }
    throw new IOException("nothing is known here of a domain " + nameOrUuid);
  }

  private String lostSentence(Ownership former) {
    return "host %s owns generation %d, so it is not started here; to run it here, shut it down there and run: understudy claim %s"
        .formatted(former.owner(), former.generation(), former.domainName());
  }

  private void tell(Ownership known, String sentence) {
    if (!sentence.equals(said.put(known.domain(), sentence))) {
      host.events().add(known.domainName(), sentence);
    }
  }

  /** Domains of which something is to be said although neither protection nor standby is here. */
  List<ObjectNode> status() throws IOException {
    List<ObjectNode> all = new ArrayList<>();
    for (Ownership known : host.ownership().all()) {
      String sentence = said.get(known.domain());
      boolean shown =
          switch (known.role()) {
            case FORMER -> true;
            case PRIMARY, ENDING -> protections.of(known.domain()) == null;
            case OWNER, STANDBY -> false;
          };
      if (shown) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.put("domain", known.domainName()).put("uuid", known.domain().toString());
        json.put("role", known.role().toString().toLowerCase(java.util.Locale.ROOT));
        json.put("state", known.role() == Ownership.Role.FORMER ? "ELSEWHERE" : "WAITING");
        json.put("reason", sentence == null ? "" : sentence);
        json.put("owner", known.owner()).put("peer", known.peer());
        all.add(json.put("generation", known.generation()));
      }
    }
    return all;
  }
}
