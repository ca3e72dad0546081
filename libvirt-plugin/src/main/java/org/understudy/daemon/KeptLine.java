package org.understudy.daemon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.UUID;
import org.understudy.capture.GuestMonitor.PassedDescriptor;
import org.understudy.file.DurableFile;
import org.understudy.guard.ProcessIdentity;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.LibvirtGuestMonitor;
import org.understudy.linux.PidFd;
import org.understudy.qmp.OutOfBandLine;

/**
 * The out-of-band line to a standby's QEMU, kept where no death of ours ends it: in that QEMU
 * itself. Our end of the connection is given to QEMU, which holds it without looking at it; a later
 * daemon copies it back out of that process. So it lives exactly as long as the QEMU, without a
 * process of its own. A file in the run directory says where it is.
 */
final class KeptLine implements AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final OutOfBandLine line;
  private final PassedDescriptor kept;
  private final Path record;

  private KeptLine(OutOfBandLine line, PassedDescriptor kept, Path record) {
    this.line = line;
    this.kept = kept;
    this.record = record;
  }

  /**
   * Agrees on out-of-band commands with a QEMU that was just started, and leaves the line with it.
   *
   * @param socket of its monitor; removed, so that nobody else comes that way
   */
  static KeptLine leave(ThisHost host, LibvirtDomain domain, Path socket) throws IOException {
    OutOfBandLine line = OutOfBandLine.agree(socket);
    try {
      Files.deleteIfExists(socket);
      PassedDescriptor kept = new LibvirtGuestMonitor(domain).addDescriptor(line.fd());
      ProcessIdentity qemu = ProcessIdentity.of(domain.pid());
      ObjectNode json = JSON.createObjectNode();
      json.put("qemu", qemu.pid()).put("started", qemu.startTicks());
      json.put("fdset", kept.fdset()).put("number", kept.number());
      Path record = record(host, domain.uuid());
      DurableFile.replace(record, JSON.writeValueAsBytes(json));
      return new KeptLine(line, kept, record);
    } catch (IOException | RuntimeException e) {
      line.close();
      throw e;
    }
  }

  /**
   * The line that an earlier daemon left.
   *
   * @throws IOException it left none, or that QEMU has ended
   */
  static KeptLine takeOver(ThisHost host, UUID domain) throws IOException {
    Path record = record(host, domain);
    if (!Files.exists(record)) {
      throw new IOException("no line to its QEMU was kept");
    }
    JsonNode json = JSON.readTree(record.toFile());
    ProcessIdentity qemu =
        new ProcessIdentity(json.path("qemu").asInt(), json.path("started").asLong());
    PassedDescriptor kept =
        new PassedDescriptor(json.path("fdset").asLong(), json.path("number").asInt());
    try (PidFd held = qemu.hold()) {
      return new KeptLine(OutOfBandLine.takeOver(held.getFd(kept.number())), kept, record);
    }
  }

  private static Path record(ThisHost host, UUID domain) {
    return host.config().host().runDir().resolve("k-" + domain.toString().substring(0, 13));
  }

  OutOfBandLine line() {
    return line;
  }

  /**
   * QEMU is an ordinary guest's from now on: ends the line. Its monitor is left without a client
   * and without a path that leads to it, and costs nothing.
   */
  void end(LibvirtDomain domain) throws IOException {
    new LibvirtGuestMonitor(domain).removeDescriptor(kept);
    close();
    DurableFile.delete(record);
  }

  /** Lets go of our copy; QEMU keeps its own. */
  @Override
  public void close() {
    line.close();
  }
}
