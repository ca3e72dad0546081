package org.understudy.libvirt;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.understudy.capture.GuestMonitor.PassedDescriptor;
import org.understudy.linux.AnonymousPipe;

/**
 * Which process a domain's QEMU is. libvirt's pid file tells where it can be found and still names
 * a process with that UUID on its command line; otherwise QEMU is handed a pipe, and the process
 * that holds it is the one. That also works where another host's QEMU of the same name and UUID
 * runs on the same machine.
 */
final class QemuProcess {
  private QemuProcess() {}

  static int pid(LibvirtDomain domain) throws IOException {
    Path file = pidFile(domain.host().uri(), domain.name());
    if (file != null && Files.isReadable(file)) {
      String text = Files.readString(file).strip();
      if (text.matches("[0-9]{1,9}") && isQemuOf(Integer.parseInt(text), domain)) {
        return Integer.parseInt(text);
      }
    }
    return holderOfPipe(domain);
  }

  /** Whether a process has {@code -uuid} and the domain's UUID among its arguments. */
  static boolean isQemuOf(int pid, LibvirtDomain domain) {
    List<String> arguments = commandLine(pid);
    int at = arguments.indexOf("-uuid");
    return at >= 0
        && at + 1 < arguments.size()
        && arguments.get(at + 1).equals(domain.uuid().toString());
  }

  /** A process's arguments; empty when it is gone. */
  static List<String> commandLine(int pid) {
    try {
      String all =
          new String(
              Files.readAllBytes(Path.of("/proc/" + pid + "/cmdline")), StandardCharsets.UTF_8);
      return List.of(all.split("\0"));
    } catch (IOException gone) {
      return List.of();
    }
  }

  /** Where libvirt writes it for daemons that use the standard folders, or null. */
  private static Path pidFile(String uri, String name) {
    String file = name + ".pid";
    if (uri.equals("qemu:///system")) {
      return Path.of("/run/libvirt/qemu", file);
    }
    String embed = "qemu:///embed?root=";
    return uri.startsWith(embed) ? Path.of(uri.substring(embed.length()), "run/qemu", file) : null;
  }

  private static int holderOfPipe(LibvirtDomain domain) throws IOException {
    LibvirtGuestMonitor monitor = new LibvirtGuestMonitor(domain);
    try (AnonymousPipe pipe = new AnonymousPipe()) {
      PassedDescriptor passed = monitor.addDescriptor(pipe.writeFd());
      try {
        Path ours = Files.readSymbolicLink(Path.of("/proc/self/fd/" + pipe.writeFd()));
        List<Integer> holders = holders(passed.number(), ours);
        if (holders.size() != 1) {
          throw new IOException(
              "the QEMU of domain "
                  + domain.name()
                  + " is not a process of this machine that we may look at: "
                  + holders.size()
                  + " processes hold the pipe it was given as descriptor "
                  + passed.number()
                  + ", expected one");
        }
        return holders.get(0);
      } finally {
        monitor.removeDescriptor(passed);
      }
    }
  }

  private static List<Integer> holders(int descriptor, Path target) throws IOException {
    List<Integer> found = new ArrayList<>();
    long self = ProcessHandle.current().pid();
    try (DirectoryStream<Path> processes = Files.newDirectoryStream(Path.of("/proc"), "[0-9]*")) {
      for (Path process : processes) {
        int pid = Integer.parseInt(process.getFileName().toString());
        try {
          if (pid != self
              && Files.readSymbolicLink(process.resolve("fd/" + descriptor)).equals(target)) {
            found.add(pid);
          }
        } catch (IOException goneOrOther) {
          // most processes have no such descriptor
        }
      }
    }
    return found;
  }
}
