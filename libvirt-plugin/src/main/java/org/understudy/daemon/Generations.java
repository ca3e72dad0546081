package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.time.Duration;
import java.util.UUID;
import org.understudy.ssh.ControlClient;
import org.understudy.ssh.PeerConnection;

/** What this host asks another one about the generations of a domain. */
final class Generations {
  private static final Duration ASK = Duration.ofSeconds(10);

  /**
   * The other host's word.
   *
   * @param generation the newest one that it knows, 0 if it knows nothing of the domain
   * @param owner who owns that
   * @param takingOver whether it is fencing this host or promoting its standby just now
   */
  record Word(long generation, String owner, boolean takingOver) {
    boolean newerThan(long other) {
      return generation > other;
    }
  }

  private final ThisHost host;

  Generations(ThisHost host) {
    this.host = host;
  }

  /** Which generation of a domain host {@code peer} knows. */
  Word ask(String peer, UUID domain, Duration deadline) throws IOException {
    return word(call(peer, "owner", domain, deadline));
  }

  /**
   * Tells the standby host that the guest is about to be started anew here, so that it takes over
   * no more by itself; its word says whether it had or is about to.
   */
  Word announceStart(Ownership mine, Duration deadline) throws IOException {
    return word(call(mine.peer(), "starting", mine.domain(), deadline));
  }

  /**
   * Protection is over: the standby host lets go of everything.
   *
   * @throws IOException it cannot be told, or has taken over
   */
  void release(Ownership mine) throws IOException {
    call(mine.peer(), "release", mine.domain(), Duration.ofSeconds(60));
  }

  /**
   * Makes this host the owner of a guest that another one owns, if that one agrees: it does not run
   * the guest and has nothing of it that would be lost.
   *
   * @param mine what is known here
   * @param from the host to be asked
   * @param force without asking: the operator vouches for it
   * @return what is known now, durable
   */
  Ownership claim(Ownership mine, String from, boolean force) throws IOException {
    Ownership known = host.ownership().read(mine.domain()).orElse(mine);
    long least = known.generation() + (known.owner().equals(host.name()) && !force ? 0 : 1);
    long generation = least;
    boolean autostart = mine.autostart();
    if (!force) {
      ObjectNode answer = call(from, "yield", mine.domain(), ASK);
      generation = Math.max(least, word(answer).generation());
      autostart |= answer.path("autostart").asBoolean();
    }
    Ownership claimed = mine.ownedBy(host.name(), generation).withAutostart(autostart);
    host.ownership().write(claimed);
    host.events()
        .add(
            mine.domainName(),
            (force ? "FORCED: " : "")
                + "this host owns generation "
                + generation
                + " now"
                + (force ? ", host " + from + " was not asked" : ""));
    return claimed;
  }

  private ObjectNode call(String peer, String verb, UUID domain, Duration deadline)
      throws IOException {
    long endNs = System.nanoTime() + deadline.toNanos();
    try (PeerConnection connection = host.peers().connect(host.trusted().named(peer), deadline);
        ControlClient control = ControlClient.open(connection)) {
      ObjectNode request = JsonNodeFactory.instance.objectNode().put("domain", domain.toString());
      long leftNs = Math.max(1_000_000, endNs - System.nanoTime());
      return control.call(verb, request, Duration.ofNanos(leftNs));
    }
  }

  private static Word word(ObjectNode answer) {
    return new Word(
        answer.path("generation").asLong(0),
        answer.path("owner").asText(""),
        answer.path("takingOver").asBoolean());
  }
}
