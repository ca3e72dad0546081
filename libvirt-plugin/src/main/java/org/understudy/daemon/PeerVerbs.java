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
        "guard-port",
        (peer, args) -> json().put("port", guards.port()),
        "owner",
        (peer, args) -> owner(uuid(args)),
        "prepare",
        this::prepare,
        "promote",
        this::promote,
        "release",
        this::release,
        "standby-status",
        (peer, args) -> standbys.withUuid(uuid(args)).status());
  }

  private ObjectNode owner(UUID domain) throws IOException {
    ObjectNode answer = json();
    host.ownership()
        .read(domain)
        .ifPresent(
            known -> answer.put("generation", known.generation()).put("owner", known.owner()));
    return answer;
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
    if (standbys.has(uuid(args))) {
      ownedBy(peer, args);
      standbys.release(uuid(args));
    }
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
