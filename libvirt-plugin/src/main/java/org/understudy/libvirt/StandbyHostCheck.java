package org.understudy.libvirt;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.understudy.libvirt.Finding.Refused;

/** Whether this host can be the standby of a domain of another host; asks, changes nothing. */
public final class StandbyHostCheck {
  private static final Path UNPRIVILEGED = Path.of("/proc/sys/vm/unprivileged_userfaultfd");

  /**
   * The room that a standby takes.
   *
   * @param fastBytes budget of pages resident in the standby guest
   * @param overheadBytes what QEMU and daemon take besides
   * @param tiersDir folder of the other tiers; it or a folder above exists
   * @param tierBytes budget of the other tiers together
   */
  public record Room(long fastBytes, long overheadBytes, Path tiersDir, long tierBytes) {
    /** Whether the tiers fit on the disk. */
    public boolean hasDisk() throws IOException {
      return freeDiskBytes() >= tierBytes;
    }

    private long freeDiskBytes() throws IOException {
      Path existing = tiersDir.toAbsolutePath();
      while (!Files.exists(existing)) {
        existing = existing.getParent();
      }
      return Files.getFileStore(existing).getUsableSpace();
    }
  }

  private final LibvirtHost host;
  private final PrimaryDomain primary;
  private final List<Finding> findings = new ArrayList<>();

  private StandbyHostCheck(LibvirtHost host, PrimaryDomain primary) {
    this.host = host;
    this.primary = primary;
  }

  /**
   * Checks everything; to be run on the standby host.
   *
   * @param conf this host's qemu.conf
   * @return findings; none means that the standby can be started
   * @throws IOException libvirt or this host does not answer
   */
  public static List<Finding> check(
      LibvirtHost host, PrimaryDomain primary, QemuConf conf, Room room) throws IOException {
    StandbyHostCheck check = new StandbyHostCheck(host, primary);
    check.names();
    check.emulator();
    check.files();
    check.userfaultfd(conf);
    check.memory(room);
    check.disk(room);
    return List.copyOf(check.findings);
  }

  /**
   * The same for a standby that is there already and has to be made anew: whether the guest as it
   * is now can be one here.
   */
  public static List<Finding> again(LibvirtHost host, PrimaryDomain primary) throws IOException {
    StandbyHostCheck check = new StandbyHostCheck(host, primary);
    check.emulator();
    check.files();
    return List.copyOf(check.findings);
  }

  private void names() throws LibvirtFault {
    LibvirtDomain same = host.domainOrNull(primary.uuid());
    LibvirtDomain named = host.domainOrNull(primary.name());
    if (same != null && same.state().run().active()) {
      refuse(
          "domain %s (%s) is already %s on the standby host; end it there or unprotect it first",
          same.name(), same.uuid(), same.state());
    } else if (same != null && !same.name().equals(primary.name())) {
      refuse(
          "the standby host has a domain %s with the UUID of %s, %s; undefine it",
          same.name(), primary.name(), primary.uuid());
    } else if (named != null && !named.uuid().equals(primary.uuid())) {
      refuse(
          "the standby host has another domain called %s (UUID %s, expected %s); rename it",
          named.name(), named.uuid(), primary.uuid());
    }
  }

  private void emulator() throws IOException {
    Path emulator = Path.of(primary.emulator());
    if (!Files.isExecutable(emulator)) {
      refuse("the standby host has no emulator %s; install the QEMU of the primary", emulator);
      return;
    }
    String version = versionOf(emulator);
    if (!version.equals(primary.qemuVersion())) {
      refuse(
          "the primary runs QEMU %s, but %s on the standby host is %s; install the same version on"
              + " both",
          primary.qemuVersion(), emulator, version);
    }
    String capabilities;
    try {
      capabilities =
          host.domainCapabilitiesXml(
              primary.emulator(), primary.arch(), primary.machine(), primary.type());
    } catch (LibvirtFault e) {
      refuse(
          "the standby host cannot run machine %s of type %s: %s",
          primary.machine(), primary.type(), e.getMessage());
      return;
    }
    cpu(DomainXml.parse(capabilities));
  }

  private void cpu(DomainXml capabilities) throws LibvirtFault {
    DomainXml xml = DomainXml.parse(primary.migratableXml());
    String mode = xml.text("/domain/cpu/@mode");
    String model = xml.text("/domain/cpu/model");
    if (mode.isEmpty() && model.isEmpty()) {
      return; // the machine's default, the same with the same QEMU
    }
    if (mode.equals("host-passthrough") || mode.equals("maximum")) {
      if (primary.type().equals("kvm") && !hasCpu(primary.hostCpuXml())) {
        refuse(
            "the CPU of the primary's host, passed through to domain %s, is not on the standby"
                + " host; use a named CPU model",
            primary.name());
      }
      return;
    }
    boolean known =
        capabilities.all("/domainCapabilities/cpu/mode[@name='custom']/model").stream()
            .anyMatch(
                element ->
                    element.getTextContent().strip().equals(model)
                        && !element.getAttribute("usable").equals("no"));
    if (!known) {
      refuse("the standby host has no CPU model %s for %s", model, primary.type());
    } else if (primary.type().equals("kvm")
        && !hasCpu(DomainXml.text(xml.all("/domain/cpu").get(0)))) {
      refuse(
          "the standby host's CPU lacks features of the CPU of domain %s (model %s)",
          primary.name(), model);
    }
  }

  private boolean hasCpu(String cpuXml) throws LibvirtFault {
    return host.hasCpu(
        primary.emulator(), primary.arch(), primary.machine(), primary.type(), cpuXml);
  }

  private void files() throws LibvirtFault {
    for (String file : primary.files()) {
      if (!Files.exists(Path.of(file))) {
        refuse(
            "domain %s needs %s, which the standby host does not have; copy it there",
            primary.name(), file);
      }
    }
  }

  private void userfaultfd(QemuConf conf) throws IOException {
    if (!Files.exists(UNPRIVILEGED)) {
      refuse("the standby host's kernel has no userfaultfd (CONFIG_USERFAULTFD)");
    } else if (!conf.asRoot() && !Files.readString(UNPRIVILEGED).strip().equals("1")) {
      refuse(
          "QEMU does not run as root on the standby host and vm.unprivileged_userfaultfd is %s,"
              + " expected 1; run: sysctl vm.unprivileged_userfaultfd=1",
          Files.readString(UNPRIVILEGED).strip());
    }
  }

  private void memory(Room room) throws IOException {
    long needed = room.fastBytes() + room.overheadBytes();
    long free = availableMemoryBytes();
    if (free < needed) {
      refuse(
          "the standby host has %d MiB of memory available, domain %s needs %d MiB (%d MiB Fast and"
              + " %d MiB for QEMU and daemon); lower --fast or free memory",
          mib(free), primary.name(), mib(needed), mib(room.fastBytes()), mib(room.overheadBytes()));
    }
  }

  private void disk(Room room) throws IOException {
    long free = room.freeDiskBytes();
    if (free < room.tierBytes()) {
      refuse(
          "the standby host has %d MiB free in %s, the tiers of domain %s need %d MiB; free space or"
              + " set another folder",
          mib(free), room.tiersDir(), primary.name(), mib(room.tierBytes()));
    }
  }

  /** MemAvailable of this host. */
  static long availableMemoryBytes() throws IOException {
    Matcher matcher =
        Pattern.compile("MemAvailable:\\s+(\\d+) kB")
            .matcher(Files.readString(Path.of("/proc/meminfo")));
    if (!matcher.find()) {
      throw new IOException("no MemAvailable in /proc/meminfo");
    }
    return Long.parseLong(matcher.group(1)) * 1024;
  }

  /** What {@code -version} of an emulator says, without the words before. */
  static String versionOf(Path emulator) throws IOException {
    Process process =
        new ProcessBuilder(emulator.toString(), "-version").redirectErrorStream(true).start();
    try {
      process.getOutputStream().close();
      String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (!process.waitFor(10, TimeUnit.SECONDS)) {
        throw new IOException(emulator + " -version did not end within 10 s");
      }
      String firstLine = output.lines().findFirst().orElse("");
      return firstLine.replaceFirst("^QEMU emulator version ", "").strip();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while asking for the version of " + emulator, e);
    } finally {
      process.destroyForcibly();
    }
  }

  private static long mib(long bytes) {
    return bytes >> 20;
  }

  @SuppressWarnings(
      "AnnotateFormatMethod") // an annotation of another library, only for the compiler
  private void refuse(String format, Object... values) {
    findings.add(new Refused(String.format(format, values)));
  }
}
