package org.understudy.daemon;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.libvirt.Finding;
import org.understudy.libvirt.Finding.Refused;
import org.understudy.libvirt.Finding.Warning;
import org.understudy.libvirt.QemuConf;

/** Each point of docs/installation.md taken away from a host that has them all. */
class InstallationTest {
  private static final String SYSCTL = "proc/sys/vm/unprivileged_userfaultfd";
  private static final String APPARMOR = "etc/apparmor.d/local/abstractions/libvirt-qemu";

  @TempDir Path root;

  @BeforeEach
  void wellInstalled() throws IOException {
    write(SYSCTL, "1\n");
    write("etc/sysctl.d/60-understudy.conf", Files.readString(shipped("60-understudy.conf")));
    write("proc/sys/kernel/yama/ptrace_scope", "1\n");
    write("sys/module/apparmor/parameters/enabled", "Y\n");
    write("etc/apparmor.d/abstractions/libvirt-qemu", "# libvirt's\n");
    write(APPARMOR, Files.readString(shipped("apparmor-libvirt-qemu")));
    for (String program : List.of("virsh", "setsid")) {
      mode("rwxr-xr-x", write("usr/bin/" + program, "#!/bin/sh\n"));
    }
    mode("rwx------", Files.createDirectories(root.resolve("state")));
    mode("rwxr-xr-x", write("fence", "#!/bin/sh\n"));
    write("understudy.conf", conf("provider = exec\nexec = " + root.resolve("fence")));
  }

  @Test
  void aHostInstalledAsDocumentedHasNoFinding() throws IOException {
    assertEquals(List.of(), examine());
  }

  @Test
  void aSysctlThatNoFileSetsIsLostAtTheNextBoot() throws IOException {
    Files.delete(root.resolve("etc/sysctl.d/60-understudy.conf"));
    warns("after a reboot", "copy docs/60-understudy.conf to /etc/sysctl.d/60-understudy.conf");
    write("etc/sysctl.conf", "# mine\nvm.unprivileged_userfaultfd=1\n");
    assertEquals(List.of(), examine());
  }

  @Test
  void aQemuThatRunsAsRootNeedsNoSysctl() throws IOException {
    Files.delete(root.resolve("etc/sysctl.d/60-understudy.conf"));
    assertEquals(List.of(), examine("root", true, true));
  }

  @Test
  void aConfinedQemuNeedsARuleForItsSocket() throws IOException {
    write(APPARMOR, "");
    warns("AppArmor", "add the line \"/var/lib/libvirt/qemu/understudy-* rw,\" to /" + APPARMOR);
    assertEquals(List.of(), examine("libvirt-qemu", false, true));
    write("sys/module/apparmor/parameters/enabled", "N\n");
    assertEquals(List.of(), examine());
  }

  @Test
  void memoryThatNobodyMayReadIsRefused() throws IOException {
    write("proc/sys/kernel/yama/ptrace_scope", "3\n");
    refuses("kernel.yama.ptrace_scope is 3", "set it to 2 or less");
  }

  @Test
  void programsOfTheGuardThatAreMissingAreRefused() throws IOException {
    Files.delete(root.resolve("usr/bin/virsh"));
    refuses("virsh is missing", "install libvirt-clients");
  }

  @Test
  void aStateFolderThatEverybodyCanReadIsToldOf() throws IOException {
    mode("rwxr-xr-x", root.resolve("state"));
    warns("can be read by everybody", "chmod 700 " + root.resolve("state"));
  }

  @Test
  void aFenceScriptThatOthersCanWriteIsRefused() throws IOException {
    mode("rwxrwxr-x", root.resolve("fence"));
    refuses("can be written by others", "chmod go-w " + root.resolve("fence"));
  }

  @Test
  void nobodyTrustedIsToldOf() throws IOException {
    Finding only = only(examine("libvirt-qemu", true, false));
    assertInstanceOf(Warning.class, only);
    assertTrue(only.sentence().contains("run: understudy trust HOST"), only.sentence());
  }

  private List<Finding> examine() throws IOException {
    return examine("libvirt-qemu", true, true);
  }

  private List<Finding> examine(String user, boolean confined, boolean trusts) throws IOException {
    DaemonConfig config = DaemonConfig.read(root.resolve("understudy.conf"));
    return Installation.examine(
        root, config, new QemuConf(QemuConf.SYSTEM, user, "", confined), trusts);
  }

  private void warns(String what, String whatToDo) throws IOException {
    says(Warning.class, what, whatToDo);
  }

  private void refuses(String what, String whatToDo) throws IOException {
    says(Refused.class, what, whatToDo);
  }

  private void says(Class<? extends Finding> kind, String what, String whatToDo)
      throws IOException {
    Finding only = only(examine());
    assertInstanceOf(kind, only);
    assertTrue(only.sentence().contains(what), only.sentence());
    assertTrue(only.sentence().contains(whatToDo), only.sentence());
  }

  private static Finding only(List<Finding> findings) {
    assertEquals(1, findings.size(), findings::toString);
    return findings.get(0);
  }

  private String conf(String fence) {
    return "[host]\nstate-dir = %s\n[fence]\n%s\n".formatted(root.resolve("state"), fence);
  }

  private static Path shipped(String name) {
    return Path.of(System.getProperty("understudy.root"), "docs", name);
  }

  private Path write(String file, String text) throws IOException {
    Path path = root.resolve(file);
    Files.createDirectories(path.getParent());
    return Files.writeString(path, text);
  }

  private static void mode(String rights, Path path) throws IOException {
    Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(rights));
  }
}
