package org.understudy.libvirt;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import org.understudy.capture.GuestMonitor;
import org.understudy.capture.MonitorBusy;
import org.understudy.capture.MonitorRefusal;
import org.understudy.qmp.QmpCommand;
import org.understudy.qmp.QmpRefusal;

/** What capture needs of QEMU's monitor, through libvirt. */
public final class LibvirtGuestMonitor implements GuestMonitor {
  /** Marks the descriptors that are ours in QEMU. */
  private static final String OURS = "understudy";

  private final LibvirtDomain domain;

  public LibvirtGuestMonitor(LibvirtDomain domain) {
    this.domain = domain;
  }

  @Override
  public String humanCommand(String line) throws IOException {
    return run(QmpCommand.of(
            "human-monitor-command", QmpCommand.arguments().put("command-line", line)))
        .asText();
  }

  @Override
  public PassedDescriptor addDescriptor(int fd) throws IOException {
    try {
      JsonNode passed =
          domain.qmpWithFiles(
              QmpCommand.of("add-fd", QmpCommand.arguments().put("opaque", OURS)), fd);
      return new PassedDescriptor(passed.path("fdset-id").asLong(), passed.path("fd").asInt());
    } catch (QmpRefusal e) {
      throw refusal(e);
    } catch (LibvirtFault e) {
      throw busyOr(e);
    }
  }

  /**
   * Removes the descriptors that an earlier daemon gave QEMU and did not live to take back.
   *
   * @return how many
   */
  public int removeLeftDescriptors() throws IOException {
    int removed = 0;
    for (JsonNode set : run(QmpCommand.of("query-fdsets"))) {
      for (JsonNode descriptor : set.path("fds")) {
        if (descriptor.path("opaque").asText().equals(OURS)) {
          removeDescriptor(
              new PassedDescriptor(set.path("fdset-id").asLong(), descriptor.path("fd").asInt()));
          removed++;
        }
      }
    }
    return removed;
  }

  @Override
  public void removeDescriptor(PassedDescriptor descriptor) throws IOException {
    run(
        QmpCommand.of(
            "remove-fd",
            QmpCommand.arguments()
                .put("fdset-id", descriptor.fdset())
                .put("fd", descriptor.number())));
  }

  @Override
  public void saveDevicesState(String path) throws IOException {
    run(
        QmpCommand.of(
            "xen-save-devices-state",
            QmpCommand.arguments().put("filename", path).put("live", false)));
  }

  @Override
  public String status() throws IOException {
    return run(QmpCommand.of("query-status")).path("status").asText();
  }

  private JsonNode run(QmpCommand command) throws IOException {
    try {
      return domain.qmp(command);
    } catch (QmpRefusal e) {
      throw refusal(e);
    } catch (LibvirtFault e) {
      throw busyOr(e);
    }
  }

  private static IOException busyOr(LibvirtFault e) {
    return e.isBusy() ? new MonitorBusy(e.getMessage(), e) : e;
  }

  private static MonitorRefusal refusal(QmpRefusal e) {
    MonitorRefusal refusal = new MonitorRefusal(e.command(), e.description());
    refusal.initCause(e);
    return refusal;
  }
}
