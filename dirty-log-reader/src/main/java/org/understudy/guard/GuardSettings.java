package org.understudy.guard;

import java.io.IOException;
import java.io.Reader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.UUID;

/**
 * What a guard is told at its start, through a file of mode 0600, since it holds the key.
 *
 * @param session the guard's run; a guard that is started again gets a new one, and a new key
 * @param key signs its datagrams, {@value GuardDatagram#KEY_BYTES} bytes
 * @param qemu the guest's process
 * @param socket where the daemon attaches
 * @param standbyHost where datagrams go, or empty for none
 * @param standbyPort their UDP port
 * @param heartbeatMs time between datagrams
 * @param deadlineMs longest pause, from the first byte
 * @param graceMs how long after that a daemon may take to end its pause before it is killed
 * @param reasonCommand asked why QEMU ended; may be empty
 */
public record GuardSettings(
    UUID session,
    String key,
    ProcessIdentity qemu,
    Path socket,
    String standbyHost,
    int standbyPort,
    long heartbeatMs,
    long deadlineMs,
    long graceMs,
    List<String> reasonCommand) {

  /** A pause of 500 ms at most, a hung daemon killed 5 s later, a datagram each 200 ms. */
  public static GuardSettings of(
      ProcessIdentity qemu,
      Path socket,
      String standbyHost,
      int standbyPort,
      List<String> reasonCommand) {
    byte[] key = new byte[GuardDatagram.KEY_BYTES];
    new SecureRandom().nextBytes(key);
    return new GuardSettings(
        UUID.randomUUID(),
        HexFormat.of().formatHex(key),
        qemu,
        socket,
        standbyHost,
        standbyPort,
        200,
        500,
        5_000,
        reasonCommand);
  }

  /** The same with other times. */
  public GuardSettings withTimes(long newHeartbeatMs, long newDeadlineMs, long newGraceMs) {
    return new GuardSettings(
        session,
        key,
        qemu,
        socket,
        standbyHost,
        standbyPort,
        newHeartbeatMs,
        newDeadlineMs,
        newGraceMs,
        reasonCommand);
  }

  /** The key's bytes. */
  public byte[] keyBytes() {
    return HexFormat.of().parseHex(key);
  }

  /** Without the key. */
  @Override
  public String toString() {
    return "guard of process " + qemu.pid() + ", session " + session + ", at " + socket;
  }

  /** Writes them to a file that only its owner can read, all or nothing. */
  public void write(Path file) throws IOException {
    Properties lines = new Properties();
    lines.setProperty("session", session.toString());
    lines.setProperty("key", key);
    lines.setProperty("qemu.pid", Integer.toString(qemu.pid()));
    lines.setProperty("qemu.start", Long.toString(qemu.startTicks()));
    lines.setProperty("socket", socket.toString());
    lines.setProperty("standby.host", standbyHost);
    lines.setProperty("standby.port", Integer.toString(standbyPort));
    lines.setProperty("heartbeat.ms", Long.toString(heartbeatMs));
    lines.setProperty("deadline.ms", Long.toString(deadlineMs));
    lines.setProperty("grace.ms", Long.toString(graceMs));
    for (int i = 0; i < reasonCommand.size(); i++) {
      lines.setProperty("reason." + i, reasonCommand.get(i));
    }
    StringWriter text = new StringWriter();
    lines.store(text, null);
    Path part = file.resolveSibling(file.getFileName() + ".part");
    Files.deleteIfExists(part);
    Files.createFile(
        part, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    Files.writeString(part, text.toString());
    Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
  }

  /** Reads what {@link #write} wrote. */
  public static GuardSettings read(Path file) throws IOException {
    Properties lines = new Properties();
    try (Reader in = Files.newBufferedReader(file, StandardCharsets.UTF_8)) {
      lines.load(in);
    }
    try {
      List<String> reason = new ArrayList<>();
      while (lines.getProperty("reason." + reason.size()) != null) {
        reason.add(lines.getProperty("reason." + reason.size()));
      }
      return new GuardSettings(
          UUID.fromString(value(lines, "session")),
          value(lines, "key"),
          new ProcessIdentity(
              Integer.parseInt(value(lines, "qemu.pid")),
              Long.parseLong(value(lines, "qemu.start"))),
          Path.of(value(lines, "socket")),
          value(lines, "standby.host"),
          Integer.parseInt(value(lines, "standby.port")),
          Long.parseLong(value(lines, "heartbeat.ms")),
          Long.parseLong(value(lines, "deadline.ms")),
          Long.parseLong(value(lines, "grace.ms")),
          List.copyOf(reason));
    } catch (IllegalArgumentException e) {
      throw new IOException("guard settings in " + file + ": " + e.getMessage(), e);
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
