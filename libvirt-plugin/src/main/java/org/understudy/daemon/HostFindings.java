package org.understudy.daemon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.understudy.fence.NoFence;
import org.understudy.libvirt.Finding;
import org.understudy.ssh.ControlClient;
import org.understudy.ssh.PeerConnection;

/** What is amiss with a host's own settings, whatever the domain: no fence, no hook. */
final class HostFindings {
  private static final Duration ASK = Duration.ofSeconds(10);

  private HostFindings() {}

  /** This host's. */
  static List<Finding> of(ThisHost host) throws IOException {
    List<Finding> findings = new ArrayList<>();
    host.config().hook().finding().ifPresent(findings::add);
    if (host.fence() instanceof NoFence) {
      findings.add(
          new Finding.Warning(
              "fence.provider is none on host "
                  + host.name()
                  + ": a failover to it may start a guest that still runs elsewhere"));
    }
    return findings;
  }

  /** This host's sentences, for one that asks. */
  static ObjectNode toJson(ThisHost host) throws IOException {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    var sentences = json.putArray("findings");
    of(host).forEach(each -> sentences.add(each.sentence()));
    return json;
  }

  /** Those of another host, as it says them. */
  static List<Finding> ask(ThisHost host, String peer) throws IOException {
    List<Finding> findings = new ArrayList<>();
    try (PeerConnection connection = host.peers().connect(host.trusted().named(peer), ASK);
        ControlClient control = ControlClient.open(connection)) {
      ObjectNode nothing = JsonNodeFactory.instance.objectNode();
      for (JsonNode each : control.call("findings", nothing, ASK).path("findings")) {
        findings.add(new Finding.Warning("host " + peer + ": " + each.asText()));
      }
    }
    return findings;
  }
}
