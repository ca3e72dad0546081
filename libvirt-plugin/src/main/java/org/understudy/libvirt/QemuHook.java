package org.understudy.libvirt;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;

/**
 * Our part of libvirt's qemu hook, which keeps this host from starting a guest that another one
 * owns: the script {@code hooks/qemu} with this host's values in it.
 *
 * @param hostName what this host calls itself
 * @param stateDir where ownership is kept
 * @param runDir where the daemon answers
 * @param startUnheard whether a guest may start although nobody can say who owns it
 */
public record QemuHook(String hostName, Path stateDir, Path runDir, boolean startUnheard) {
  /** Where it belongs, beside other people's hooks. */
  public static final Path FILE = Path.of("/etc/libvirt/hooks/qemu.d/understudy");

  /** The script. */
  public String text() throws IOException {
    try (InputStream in = QemuHook.class.getResourceAsStream("/hooks/qemu")) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8)
          .replace("@HOST@", word(hostName))
          .replace("@STATE_DIR@", word(stateDir.toString()))
          .replace("@RUN_DIR@", word(runDir.toString()))
          .replace("@START_UNHEARD@", startUnheard ? "allow" : "refuse");
    }
  }

  /** Goes between single quotes in a shell script. */
  private static String word(String text) throws IOException {
    if (text.contains("'") || text.contains("\n")) {
      throw new IOException("a hook cannot name " + text + ", which has a quote in it");
    }
    return text;
  }

  /**
   * Writes it, all or nothing.
   *
   * @throws IOException with a sentence; a hook of somebody else's is left alone
   */
  public void install(Path file) throws IOException {
    if (Files.exists(file) && !Files.readString(file).contains("Understudy's part of libvirt's")) {
      throw new IOException(
          file + " is somebody else's hook; call " + FILE + " from it, or leave it at " + FILE);
    }
    Files.createDirectories(file.toAbsolutePath().getParent());
    Path fresh = file.resolveSibling("." + file.getFileName() + ".new");
    Files.writeString(fresh, text());
    Files.setPosixFilePermissions(fresh, PosixFilePermissions.fromString("rwxr-xr-x"));
    Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE);
  }

  /** What is wrong with it on this host, if anything. */
  public Optional<Finding> finding() throws IOException {
    for (Path file : List.of(FILE, Path.of("/etc/libvirt/hooks/qemu"))) {
      if (Files.exists(file) && Files.readString(file).equals(text())) {
        return Files.isExecutable(file)
            ? Optional.empty()
            : Optional.of(new Finding.Warning("libvirt's hook " + file + " is not executable"));
      }
    }
    return Optional.of(
        new Finding.Warning(
            "libvirt's hook "
                + FILE
                + (Files.exists(FILE)
                    ? " was made for other settings"
                    : " is not installed: nothing keeps this host from starting a guest that another"
                        + " one has taken over")
                + "; run: understudy install-hook && systemctl reload libvirtd"));
  }

  /** When libvirt last called it, as a line for the doctor. */
  public String fact() {
    Path called = runDir.resolve("hook");
    try {
      return "libvirt last called the hook at " + Files.getLastModifiedTime(called);
    } catch (IOException e) {
      return "libvirt has not called the hook since this host started";
    }
  }
}
