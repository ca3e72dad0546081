package org.understudy.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.understudy.daemon.DaemonConfig;
import org.understudy.libvirt.QemuHook;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** Installs our part of libvirt's qemu hook; needs no daemon. */
@Command(
    name = "install-hook",
    description = {
      "Install libvirt's qemu hook, which keeps this host from starting a guest that another one has"
          + " taken over.",
      "Again after a change of [host] or protect.start-unheard. libvirt notices a new hook when it is"
          + " reloaded: systemctl reload libvirtd (or virtqemud)."
    })
final class HookVerb implements Callable<Integer> {
  @ParentCommand private Understudy understudy;

  @Option(
      names = "--to",
      paramLabel = "FILE",
      description =
          "where to (default: /etc/libvirt/hooks/qemu.d/understudy; /etc/libvirt/hooks/qemu works as"
              + " well)")
  private Path to = QemuHook.FILE;

  @Override
  public Integer call() throws IOException {
    DaemonConfig config = understudy.config();
    config.hook().install(to);
    understudy.out().printf("%s is installed%n", to);
    return 0;
  }
}
