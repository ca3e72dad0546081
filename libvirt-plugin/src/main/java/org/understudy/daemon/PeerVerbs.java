package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.Map;
import java.util.UUID;
import org.understudy.guard.GuardListener;
import org.understudy.ssh.ControlVerb;

/** What other hosts may ask of this one, on the control stream. */
final class PeerVerbs {
  private final ThisHost host;
  private final Standbys standbys;
  private final GuardListener guards;

  PeerVerbs(ThisHost host, Standbys standbys, GuardListener guards) {
    this.host = host;
    this.standbys = standbys;
    this.guards = guards;
  }

  Map<String, ControlVerb> verbs() {
    return Map.of(
        "findings",
        (peer, args) -> HostFindings.toJson(host),
        "guard-port",
        (peer, args) ->
            json()
                .put("port", guards.port())
                .put("host", host.config().host().guardsElsewhere().orElse("")),
        "owner",
        (peer, args) -> owner(uuid(args)),
        "prepare",
        this::prepare,
        "promote",
        this::promote,
        "release",
        this::release,
        "starting",
        this::starting,
        "yield",
        this::yieldTo,
        "suspended",
        this::suspended,
        "standby-status",
        (peer, args) -> standbys.withUuid(uuid(args)).status());
  }

  private ObjectNode owner(UUID domain) throws IOException {
    ObjectNode answer = json();
    host.ownership()
        .read(domain)
        .ifPresent(
            known -> answer.put("generation", known.generation()).put("owner", known.owner()));
    if (standbys.has(domain) && standbys.withUuid(domain).takesOver()) {
      answer.put("takingOver", true);
    }
    return answer;
  }

  /** A primary is about to start its guest anew: a standby of it must not take over any more. */
  private ObjectNode starting(String peer, ObjectNode args) throws IOException {
    UUID domain = uuid(args);
    Ownership known = host.ownership().read(domain).orElse(null);
    boolean follows = known != null && known.role() == Ownership.Role.STANDBY;
    if (follows && known.peer().equals(peer) && standbys.has(domain)) {
      boolean stoodDown =
          standbys
              .withUuid(domain)
              .standDown("host " + peer + " starts the guest anew; nothing is taken over");
      return owner(domain).put("takingOver", !stoodDown);
    }
    return owner(domain);
  }

  /**
   * A peer wants to own a guest: given up if it does not run here and nothing of it would be lost.
   */
  private ObjectNode yieldTo(String peer, ObjectNode args)
      throws IOException, InterruptedException {
    UUID domain = uuid(args);
    Ownership known = host.ownership().read(domain).orElse(null);
    if (known == null) {
      return json().put("generation", 0);
    }
    standbys.yieldTo(peer, known);
    Ownership now = host.ownership().read(domain).orElse(null);
    return now == null
        ? json().put("generation", known.generation())
        : json()
            .put("generation", now.generation())
            .put("owner", now.owner())
            .put("autostart", now.autostart());
  }

  private ObjectNode prepare(String peer, ObjectNode args)
      throws IOException, InterruptedException {
    Standby standby = standbys.prepare(peer, GuestOrder.of(args));
    return json().put("epoch", standby.committedEpoch());
  }

  private ObjectNode promote(String peer, ObjectNode args) throws IOException {
    Standby standby = ownedBy(peer, args);
    return standby.takeOver(args.required("generation").asLong(), args.required("epoch").asLong());
  }

  private ObjectNode release(String peer, ObjectNode args)
      throws IOException, InterruptedException {
    Ownership known = host.ownership().read(uuid(args)).orElse(null);
    if (known != null && known.role().owns()) {
      throw new IOException(
          "this host owns generation " + known.generation() + " of domain " + known.domainName());
    }
    if (standbys.has(uuid(args))) {
      ownedBy(peer, args);
    }
    standbys.release(uuid(args));
    return json();
  }

  private ObjectNode suspended(String peer, ObjectNode args) throws IOException {
    Standby standby = ownedBy(peer, args);
    standbys.suspended(standby.order().primary().uuid(), args.required("epoch").asLong());
    return json();
  }

  /** A standby, for the host that it follows and for no other. */
  private Standby ownedBy(String peer, ObjectNode args) throws IOException {
    Standby standby = standbys.withUuid(uuid(args));
    String owner = host.ownership().read(uuid(args)).map(Ownership::peer).orElse("");
    if (!owner.equals(peer)) {
      throw new IOException("the standby follows host " + owner + ", not " + peer);
    }
    return standby;
  }

  private static UUID uuid(ObjectNode args) {
    return UUID.fromString(args.required("domain").asText());
  }

  private static ObjectNode json() {
    return JsonNodeFactory.instance.objectNode();
  }
}
