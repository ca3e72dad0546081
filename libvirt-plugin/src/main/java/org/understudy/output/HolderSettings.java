package org.understudy.output;

import java.io.IOException;
import java.io.Reader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Properties;
import org.understudy.guard.ProcessIdentity;

/**
 * What a holder is told at its start, through a file. Beside it lie {@code .pulse}, which it
 * changes as long as it works, and {@code .log}.
 *
 * @param session names this holder and the filters that lead to it
 * @param qemu the guest's process
 * @param socket where QEMU's filters and the daemon are connected
 * @param interfaces aliases of the interfaces whose output is held, separated by commas
 * @param limitMs longest time that a packet waits for a commit before output goes out uncommitted;
 *     0: for ever
 * @param bytes room for each interface
 */
public record HolderSettings(
    String session, ProcessIdentity qemu, Path socket, String interfaces, long limitMs, int bytes) {

  /** Where the holder of these settings shows that it works. */
  static Path pulse(Path file) {
    return file.resolveSibling(file.getFileName() + ".pulse");
  }

  List<String> interfaceList() {
    return List.of(interfaces.split(",", -1));
  }

  /** Writes them to a file that only its owner can read, all or nothing. */
  void write(Path file) throws IOException {
    Properties lines = new Properties();
    lines.setProperty("session", session);
    lines.setProperty("qemu.pid", Integer.toString(qemu.pid()));
    lines.setProperty("qemu.start", Long.toString(qemu.startTicks()));
    lines.setProperty("socket", socket.toString());
    lines.setProperty("interfaces", interfaces);
    lines.setProperty("limit.ms", Long.toString(limitMs));
    lines.setProperty("bytes", Integer.toString(bytes));
    StringWriter text = new StringWriter();
    lines.store(text, null);
    Files.createDirectories(file.getParent());
    Path part = file.resolveSibling(file.getFileName() + ".part");
    Files.deleteIfExists(part);
    Files.createFile(
        part, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.writeString(part, text.toString());
    Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }

  /** Reads what {@link #write} wrote. */
  public static HolderSettings read(Path file) throws IOException {
    Properties lines = new Properties();
    try (Reader in = Files.newBufferedReader(file, StandardCharsets.UTF_8)) {
      lines.load(in);
    }
    try {
      return new HolderSettings(
          value(lines, "session"),
          new ProcessIdentity(
              Integer.parseInt(value(lines, "qemu.pid")),
              Long.parseLong(value(lines, "qemu.start"))),
          Path.of(value(lines, "socket")),
          value(lines, "interfaces"),
          Long.parseLong(value(lines, "limit.ms")),
          Integer.parseInt(value(lines, "bytes")));
    } catch (IllegalArgumentException e) {
      throw new IOException("holder settings in " + file + ": " + e.getMessage(), e);
    }
  }

  private static String value(Properties lines, String name) {
    String value = lines.getProperty(name);
    if (value == null) {
      throw new IllegalArgumentException(name + " is missing");
    }
    return value;
  }
}
