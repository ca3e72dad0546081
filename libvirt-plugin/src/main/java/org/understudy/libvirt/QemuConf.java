package org.understudy.libvirt;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What of libvirt's qemu.conf concerns protection. A missing file or entry is libvirt's default.
 *
 * @param file where it lies
 * @param user whom QEMU runs as, by name or number; an empty string for the built-in default
 * @param lockManager {@code lockd}, {@code sanlock}, or an empty string for none
 * @param confined whether a security driver (AppArmor, SELinux) may hold QEMU; {@code none} says no
 */
public record QemuConf(Path file, String user, String lockManager, boolean confined) {
  /** libvirt's place for it. */
  public static final Path SYSTEM = Path.of("/etc/libvirt/qemu.conf");

  /** Reads the file that belongs to a libvirt URI. */
  public static QemuConf of(String uri) throws IOException {
    String embed = "qemu:///embed?root=";
    return read(
        uri.startsWith(embed) ? Path.of(uri.substring(embed.length()), "etc/qemu.conf") : SYSTEM);
  }

  /** Reads {@code file}. */
  public static QemuConf read(Path file) throws IOException {
    String text;
    try {
      text = Files.readString(file);
    } catch (NoSuchFileException e) {
      text = "";
    }
    String lock = value(text, "lock_manager");
    return new QemuConf(
        file,
        value(text, "user"),
        lock.equals("nop") ? "" : lock,
        !value(text, "security_driver").equals("none"));
  }

  /** Whether QEMU runs with root's rights, so that no sysctl stands in its way. */
  public boolean asRoot() {
    return user.equals("root") || user.equals("0") || user.equals("+0");
  }

  private static String value(String text, String key) {
    Matcher matcher =
        Pattern.compile("^\\s*" + key + "\\s*=\\s*\"?([^\"#\\s]*)", Pattern.MULTILINE)
            .matcher(text);
    String last = "";
    while (matcher.find()) {
      last = matcher.group(1);
    }
    return last;
  }
}
