package org.understudy.daemon;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.understudy.libvirt.Finding;
import org.understudy.libvirt.Finding.Refused;
import org.understudy.libvirt.Finding.Warning;
import org.understudy.libvirt.QemuConf;

/**
 * What docs/installation.md has an operator do on each host, looked at again: {@code understudy
 * doctor} prints a sentence for each point that is missing. Reads files and changes nothing.
 */
final class Installation {
  /** The shipped file that lets a QEMU without root's rights be a standby. */
  static final String SYSCTL_FILE = "/etc/sysctl.d/60-understudy.conf";

  /** The line that lets a confined QEMU make its sockets. */
  static final String APPARMOR_RULE = "/var/lib/libvirt/qemu/understudy-* rw,";

  private static final String APPARMOR_FILE = "/etc/apparmor.d/local/abstractions/libvirt-qemu";
  private static final List<String> PROGRAMS =
      List.of("virsh:libvirt-clients", "setsid:util-linux");
  private static final List<String> FOLDERS = List.of("usr/bin", "bin", "usr/local/bin");

  private final Path root;
  private final DaemonConfig config;
  private final List<Finding> findings = new ArrayList<>();

  private Installation(Path root, DaemonConfig config) {
    this.root = root;
    this.config = config;
  }

  /**
   * Looks at everything.
   *
   * @param root the file system's root; another folder in tests
   * @param conf libvirt's configuration of QEMU
   * @param trustsSomebody whether any other host is trusted
   */
  static List<Finding> examine(
      Path root, DaemonConfig config, QemuConf conf, boolean trustsSomebody) throws IOException {
    Installation host = new Installation(root, config);
    host.tracing();
    if (!conf.asRoot()) {
      host.sysctlLasts();
    }
    host.appArmor(conf);
    host.programs();
    host.ownFolder(config.host().stateDir());
    host.fence();
    if (!trustsSomebody) {
      host.warn(
          "no other host is trusted yet; run: understudy trust HOST ADDRESS:16520 --key '…', with"
              + " what understudy identity says there");
    }
    return List.copyOf(host.findings);
  }

  private Path at(String absolute) {
    return root.resolve(absolute.substring(1));
  }

  private String read(String absolute) throws IOException {
    Path file = at(absolute);
    return Files.isReadable(file) ? Files.readString(file).strip() : "";
  }

  /** Nobody may look into another process's memory then, root neither. */
  private void tracing() throws IOException {
    if (read("/proc/sys/kernel/yama/ptrace_scope").equals("3")) {
      refuse(
          "kernel.yama.ptrace_scope is 3, so no process may read a guest's memory and no domain of"
              + " this host can be protected; set it to 2 or less in /etc/sysctl.d and reboot");
    }
  }

  private void sysctlLasts() throws IOException {
    if (!read("/proc/sys/vm/unprivileged_userfaultfd").equals("1")) {
      return; // HostDoctor says so
    }
    Pattern line = Pattern.compile("(?m)^\\s*-?vm[./]unprivileged_userfaultfd\\s*=\\s*1\\s*$");
    for (String folder : List.of("/etc/sysctl.d", "/run/sysctl.d", "/usr/lib/sysctl.d")) {
      if (Files.isDirectory(at(folder))) {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(at(folder), "*.conf")) {
          for (Path file : files) {
            if (line.matcher(Files.readString(file)).find()) {
              return;
            }
          }
        }
      }
    }
    if (!line.matcher(read("/etc/sysctl.conf")).find()) {
      warn(
          "vm.unprivileged_userfaultfd is 1, but no file in /etc/sysctl.d sets it: after a reboot"
              + " this host can be no standby; copy docs/60-understudy.conf to "
              + SYSCTL_FILE);
    }
  }

  private void appArmor(QemuConf conf) throws IOException {
    if (!read("/sys/module/apparmor/parameters/enabled").equals("Y")
        || !conf.confined()
        || !Files.exists(at("/etc/apparmor.d/abstractions/libvirt-qemu"))) {
      return;
    }
    if (!read(APPARMOR_FILE).contains(APPARMOR_RULE)) {
      warn(
          "AppArmor keeps a standby's QEMU from making its socket; add the line \""
              + APPARMOR_RULE
              + "\" to "
              + APPARMOR_FILE);
    }
  }

  private void programs() {
    for (String pair : PROGRAMS) {
      String[] program = pair.split(":", 2);
      if (FOLDERS.stream()
          .noneMatch(f -> Files.isExecutable(root.resolve(f).resolve(program[0])))) {
        refuse(
            "%s is missing, which the guard of a guest needs; install %s"
                .formatted(program[0], program[1]));
      }
    }
  }

  /** The host's key and the guests' memory lie there. */
  private void ownFolder(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      return; // the daemon makes it
    }
    if (othersMay(folder, PosixFilePermission.OTHERS_READ, PosixFilePermission.OTHERS_EXECUTE)) {
      warn("%s can be read by everybody; run: chmod 700 %s".formatted(folder, folder));
    }
  }

  private void fence() throws IOException {
    if (config.fencing().script().isEmpty()) {
      return; // HostFindings says so
    }
    Path script = config.fencing().script().get();
    if (Files.exists(script)
        && othersMay(script, PosixFilePermission.OTHERS_WRITE, PosixFilePermission.GROUP_WRITE)) {
      refuse(
          "fence script %s can be written by others than its owner, and runs with the daemon's rights;"
                  .formatted(script)
              + " run: chmod go-w "
              + script);
    }
  }

  private static boolean othersMay(Path path, PosixFilePermission... rights) throws IOException {
    PosixFileAttributes attributes = Files.readAttributes(path, PosixFileAttributes.class);
    for (PosixFilePermission right : rights) {
      if (attributes.permissions().contains(right)) {
        return true;
      }
    }
    return false;
  }

  private void refuse(String sentence) {
    findings.add(new Refused(sentence));
  }

  private void warn(String sentence) {
    findings.add(new Warning(sentence));
  }
}
