package org.understudy.libvirt;

import com.fasterxml.jackson.databind.JsonNode;
import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.IntByReference;
import com.sun.jna.ptr.LongByReference;
import com.sun.jna.ptr.PointerByReference;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.UUID;
import org.libvirt.Domain;
import org.libvirt.DomainJobInfo;
import org.libvirt.LibvirtException;
import org.understudy.libvirt.LibvirtHost.Connection;
import org.understudy.qmp.QmpCommand;

/**
 * One domain of a host, running or not; known by its UUID, so it survives a reconnection.
 * Thread-safe. Monitor commands wait behind the domain's other jobs, up to libvirt's 30 s.
 */
public final class LibvirtDomain {
  private static final int VIR_DOMAIN_JOB_NONE = 0;
  private static final int VIR_DOMAIN_XML_INACTIVE = 2;
  private static final int VIR_DOMAIN_XML_MIGRATABLE = 8;

  private final LibvirtHost host;
  private final UUID uuid;
  private final String name;
  private Handle handle;

  /** libvirt's objects for the domain, of one connection. */
  private record Handle(Connection connection, Domain domain, Pointer pointer) {}

  LibvirtDomain(LibvirtHost host, Domain domain) throws LibvirtFault {
    this.host = host;
    try {
      uuid = UUID.fromString(domain.getUUIDString());
      name = domain.getName();
    } catch (LibvirtException e) {
      throw new LibvirtFault("asking a domain of " + host.uri() + " for its name", e);
    }
  }

  /** The host that it is on. */
  public LibvirtHost host() {
    return host;
  }

  public UUID uuid() {
    return uuid;
  }

  public String name() {
    return name;
  }

  /** What it does now, and why. */
  public DomainState state() throws LibvirtFault {
    IntByReference state = new IntByReference();
    IntByReference reason = new IntByReference();
    if (LibvirtLibrary.BASE.virDomainGetState(handle().pointer, state, reason, 0) < 0) {
      throw new LibvirtFault("asking for the state of " + name + ": " + LibvirtHost.lastError());
    }
    return DomainState.of(state.getValue(), reason.getValue());
  }

  /** Whether a command of its monitor would be run at once. */
  public DomainControl control() throws LibvirtFault {
    try (Memory info = new Memory(DomainControl.BYTES)) {
      if (LibvirtLibrary.BASE.virDomainGetControlInfo(handle().pointer, info, 0) < 0) {
        throw new LibvirtFault("asking what " + name + " does: " + LibvirtHost.lastError());
      }
      DomainControl control = DomainControl.of(info);
      // A long job shows there only while it speaks to QEMU itself.
      return control.state() == DomainControl.State.FREE ? job() : control;
    }
  }

  private DomainControl job() throws LibvirtFault {
    DomainJobInfo job = ask("its job", Domain::getJobInfo);
    return job.getType() == VIR_DOMAIN_JOB_NONE
        ? new DomainControl(DomainControl.State.FREE, 0)
        : new DomainControl(DomainControl.State.JOB, job.getTimeElapsed());
  }

  /**
   * The devices that its QEMU has now and that have a name of their own, such as {@code net0
   * (virtio-net-pci)}; sorted. From QEMU itself, which has lost an unplugged device before libvirt
   * knows.
   */
  public List<String> devices() throws IOException {
    List<String> devices = new ArrayList<>();
    for (JsonNode item :
        qmp(QmpCommand.of("qom-list", QmpCommand.arguments().put("path", "/machine/peripheral")))) {
      String type = item.path("type").asText();
      if (type.startsWith("child<")) {
        String model = type.substring("child<".length(), type.length() - 1);
        devices.add(item.path("name").asText() + " (" + model + ")");
      }
    }
    Collections.sort(devices);
    return List.copyOf(devices);
  }

  /** Process id of its QEMU. */
  public int pid() throws IOException {
    return QemuProcess.pid(this);
  }

  /** The live XML, or the persistent one while it is shut off. */
  public String xml() throws LibvirtFault {
    return xml(0);
  }

  /** The live XML as a migration would send it. */
  public String migratableXml() throws LibvirtFault {
    return xml(VIR_DOMAIN_XML_MIGRATABLE);
  }

  /** What the domain is when it starts the next time, or null: it is transient. */
  public String persistentXml() throws LibvirtFault {
    boolean persistent = ask("whether it is persistent", Domain::isPersistent) == 1;
    return persistent ? xml(VIR_DOMAIN_XML_MIGRATABLE | VIR_DOMAIN_XML_INACTIVE) : null;
  }

  /**
   * Runs a monitor command given as JSON text.
   *
   * @return what QEMU returned
   * @throws org.understudy.qmp.QmpRefusal QEMU refused it
   * @throws LibvirtFault libvirt did, or QEMU is gone
   */
  public JsonNode qmp(String json) throws IOException {
    return qmp(QmpCommand.parse(json));
  }

  /** Runs a monitor command. */
  public JsonNode qmp(QmpCommand command) throws IOException {
    return command.result(
        ask(command.name(), domain -> domain.qemuMonitorCommand(command.text(), 0)));
  }

  /** Runs a line of the human monitor and returns what it printed. */
  public String hmp(String line) throws IOException {
    return qmp(QmpCommand.of(
            "human-monitor-command", QmpCommand.arguments().put("command-line", line)))
        .asText();
  }

  /**
   * Runs a monitor command and passes open descriptors of this process with it (libvirt 8.2 and
   * later).
   */
  public JsonNode qmpWithFiles(QmpCommand command, int... descriptors) throws IOException {
    IntByReference filesOut = new IntByReference();
    PointerByReference result = new PointerByReference();
    int status;
    try {
      status =
          LibvirtLibrary.qemu()
              .virDomainQemuMonitorCommandWithFiles(
                  handle().pointer,
                  command.text(),
                  descriptors.length,
                  descriptors,
                  filesOut,
                  null,
                  result,
                  0);
    } catch (UnsatisfiedLinkError e) {
      throw new LibvirtFault(
          "libvirt-qemu.so.0 on this host cannot pass descriptors, it takes libvirt 8.2 or later: "
              + e.getMessage());
    }
    if (status < 0) {
      throw new LibvirtFault(
          command.name() + " of domain " + name + ": " + LibvirtHost.lastError(),
          LibvirtLibrary.BASE.virGetLastErrorCode());
    }
    return command.result(LibvirtLibrary.taken(result.getValue()));
  }

  /** virDomainResume. */
  public void resume() throws LibvirtFault {
    tell("resuming it", Domain::resume);
  }

  /** virDomainSuspend. */
  public void suspend() throws LibvirtFault {
    tell("suspending it", Domain::suspend);
  }

  /** virDomainCreate: starts it from its persistent configuration. */
  public void start() throws LibvirtFault {
    tell("starting it", Domain::create);
  }

  /** virDomainShutdown: presses the power button. */
  public void shutdown() throws LibvirtFault {
    tell("shutting it down", Domain::shutdown);
  }

  /** virDomainDestroy: ends its QEMU. */
  public void destroy() throws LibvirtFault {
    tell("destroying it", Domain::destroy);
  }

  /**
   * virDomainGetTime: the guest's wall clock, in ns since 1970, from its agent.
   *
   * @throws LibvirtFault no agent answers
   */
  long timeNs() throws LibvirtFault {
    LongByReference seconds = new LongByReference();
    IntByReference nanos = new IntByReference();
    if (LibvirtLibrary.BASE.virDomainGetTime(handle().pointer, seconds, nanos, 0) < 0) {
      throw new LibvirtFault("asking " + name + " for its time: " + LibvirtHost.lastError());
    }
    return seconds.getValue() * 1_000_000_000 + nanos.getValue();
  }

  /** virDomainSetTime: the agent sets the guest's wall clock, and its hardware clock after it. */
  void timeNs(long value) throws LibvirtFault {
    if (LibvirtLibrary.BASE.virDomainSetTime(
            handle().pointer, value / 1_000_000_000, (int) (value % 1_000_000_000), 0)
        < 0) {
      throw new LibvirtFault("setting the time of " + name + ": " + LibvirtHost.lastError());
    }
  }

  /** Whether libvirt starts it with the host. */
  public boolean autostart() throws LibvirtFault {
    return ask("whether it starts with the host", Domain::getAutostart);
  }

  public void autostart(boolean on) throws LibvirtFault {
    tell("setting its autostart", domain -> domain.setAutostart(on));
  }

  /** libvirt's own object, for packages of this module that need more of it. */
  Domain libvirt() throws LibvirtFault {
    return handle().domain;
  }

  @Override
  public String toString() {
    return name + " on " + host.uri();
  }

  private interface Question<T> {
    T of(Domain domain) throws LibvirtException;
  }

  private interface Order {
    void to(Domain domain) throws LibvirtException;
  }

  private <T> T ask(String what, Question<T> question) throws LibvirtFault {
    try {
      return question.of(handle().domain);
    } catch (LibvirtException e) {
      throw new LibvirtFault("domain " + name + ", " + what, e);
    }
  }

  private void tell(String what, Order order) throws LibvirtFault {
    ask(
        what,
        domain -> {
          order.to(domain);
          return null;
        });
  }

  private String xml(int flags) throws LibvirtFault {
    return ask("its XML", domain -> domain.getXMLDesc(flags));
  }

  @SuppressWarnings("ReferenceEquality") // Connect.equals compares addresses, which may come again
  private synchronized Handle handle() throws LibvirtFault {
    Connection now = host.connection();
    if (handle == null || handle.connection != now) {
      // The old connection's objects stay, a few bytes: another thread may be in a call with them.
      Pointer pointer =
          LibvirtLibrary.BASE.virDomainLookupByUUIDString(now.pointer(), uuid.toString());
      if (pointer == null) {
        throw new LibvirtFault("domain " + name + ": " + LibvirtHost.lastError());
      }
      try {
        handle = new Handle(now, now.domainLookupByUUIDString(uuid.toString()), pointer);
      } catch (LibvirtException e) {
        throw new LibvirtFault("domain " + name, e);
      }
    }
    return handle;
  }
}
