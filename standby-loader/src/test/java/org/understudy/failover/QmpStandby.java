package org.understudy.failover;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.understudy.capture.GuestMonitor;
import org.understudy.standby.StandbyMonitor;
import org.understudy.standby.StandbyStatus;
import org.understudy.testbed.Qmp;
import org.understudy.testbed.QmpException;

/** The loader's monitor port, and what a survey of RAM needs, over a QMP socket. */
public class QmpStandby implements StandbyMonitor {
  private final Qmp qmp;
  private volatile String disturbance = "";

  public QmpStandby(Qmp qmp) {
    this.qmp = qmp;
  }

  @Override
  public void enablePostcopyRam() throws IOException {
    command(
        "migrate-set-capabilities",
        Map.of("capabilities", List.of(Map.of("capability", "postcopy-ram", "state", true))));
  }

  @Override
  public void migrateIncoming(Path socket) throws IOException {
    command("migrate-incoming", Map.of("uri", "unix:" + socket));
  }

  @Override
  public StandbyStatus standbyStatus() throws IOException {
    String runState = command("query-status", Map.of()).path("status").asText();
    for (JsonNode event = qmp.events().poll(); event != null; event = qmp.events().poll()) {
      if (event.path("event").asText().equals("RESET")) {
        disturbance = "it was reset";
      }
    }
    return new StandbyStatus(runState, disturbance);
  }

  @Override
  public Set<String> migrationCapabilities() throws IOException {
    Set<String> on = new TreeSet<>();
    for (JsonNode each : command("query-migrate-capabilities", Map.of())) {
      if (each.path("state").asBoolean()) {
        on.add(each.path("capability").asText());
      }
    }
    return on;
  }

  @Override
  public String migrationStatus() throws IOException {
    return command("query-migrate", Map.of()).path("status").asText();
  }

  @Override
  public void resume() throws IOException {
    command("cont", Map.of());
  }

  /** The same connection for a survey of RAM and for saving the devices. */
  public GuestMonitor survey() {
    return new GuestMonitor() {
      @Override
      public String humanCommand(String line) throws IOException {
        return qmp.hmp(line);
      }

      @Override
      public PassedDescriptor addDescriptor(int fd) {
        throw new UnsupportedOperationException("no descriptors over this connection");
      }

      @Override
      public void removeDescriptor(PassedDescriptor descriptor) {
        throw new UnsupportedOperationException("no descriptors over this connection");
      }

      @Override
      public void saveDevicesState(String path) throws IOException {
        command("xen-save-devices-state", Map.of("filename", path, "live", false));
      }

      @Override
      public String status() throws IOException {
        return qmp.runState();
      }
    };
  }

  private JsonNode command(String name, Map<String, ?> arguments) throws IOException {
    try {
      return qmp.execute(name, arguments);
    } catch (QmpException refused) {
      throw new IOException(refused.getMessage(), refused);
    }
  }
}
