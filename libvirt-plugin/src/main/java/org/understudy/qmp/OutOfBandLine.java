package org.understudy.qmp;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.UUID;
import org.understudy.linux.UnixConnection;
import org.understudy.standby.RecoveryMonitor;

/**
 * A connection to a QMP monitor of our own on which out-of-band commands are agreed: QEMU's monitor
 * thread answers them even while its main loop waits for a page. To agree on them takes the main
 * loop, so that has to be done before, and the connection has to be kept. One thread at a time.
 */
public final class OutOfBandLine implements RecoveryMonitor, AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final long REPLY_MS = 5_000;

  /** Longer than any event of QEMU's. */
  private static final int LINE_BYTES = 1 << 20;

  private final UnixConnection connection;
  private final ByteBuffer in = ByteBuffer.allocateDirect(LINE_BYTES);

  private OutOfBandLine(UnixConnection connection) {
    this.connection = connection;
  }

  /**
   * Connects to a QMP socket and agrees on out-of-band commands.
   *
   * @throws IOException nobody is there, or QEMU does not offer them
   */
  public static OutOfBandLine agree(Path socket) throws IOException {
    OutOfBandLine line = new OutOfBandLine(UnixConnection.connect(socket));
    try {
      JsonNode greeting = line.next(System.nanoTime() + REPLY_MS * 1_000_000);
      if (!greeting.path("QMP").path("capabilities").toString().contains("\"oob\"")) {
        throw new IOException("QEMU at " + socket + " offers no out-of-band commands: " + greeting);
      }
      ObjectNode arguments = QmpCommand.arguments();
      arguments.putArray("enable").add("oob");
      line.ask("execute", QmpCommand.of("qmp_capabilities", arguments));
      return line;
    } catch (IOException e) {
      line.close();
      throw e;
    }
  }

  /** A line that another process had agreed on; what it left unread is passed over. */
  public static OutOfBandLine takeOver(int fd) {
    return new OutOfBandLine(UnixConnection.of(fd));
  }

  /** Its descriptor. */
  public int fd() {
    return connection.fd();
  }

  @Override
  public void migrateRecover(Path socket) throws IOException {
    ask(
        "exec-oob",
        QmpCommand.of("migrate-recover", QmpCommand.arguments().put("uri", "unix:" + socket)));
  }

  private void ask(String verb, QmpCommand command) throws IOException {
    String id = UUID.randomUUID().toString();
    ObjectNode request = (ObjectNode) JSON.readTree(command.text());
    request.set(verb, request.remove("execute"));
    byte[] text = (request.put("id", id) + "\n").getBytes(StandardCharsets.UTF_8);
    connection.write(ByteBuffer.allocateDirect(text.length).put(text).flip());
    long deadlineNs = System.nanoTime() + REPLY_MS * 1_000_000;
    JsonNode reply = next(deadlineNs);
    while (!reply.path("id").asText().equals(id)) {
      reply = next(deadlineNs); // events, and answers to somebody before us
    }
    command.result(reply.toString());
  }

  /** The next line that is JSON: the first may be the rest of one that was read in part. */
  private JsonNode next(long deadlineNs) throws IOException {
    JsonNode read = null;
    while (read == null) {
      String line = line(deadlineNs);
      try {
        read = JSON.readTree(line);
      } catch (JsonProcessingException cutOff) {
        // the next one is whole
      }
    }
    return read;
  }

  private String line(long deadlineNs) throws IOException {
    int from = 0;
    while (true) {
      for (; from < in.position(); from++) {
        if (in.get(from) == '\n') {
          byte[] bytes = new byte[from];
          in.flip().get(bytes).get();
          in.compact();
          return new String(bytes, StandardCharsets.UTF_8);
        }
      }
      if (!in.hasRemaining()) {
        throw new IOException("a line of more than " + LINE_BYTES + " bytes from QEMU's monitor");
      }
      long leftMs = (deadlineNs - System.nanoTime()) / 1_000_000;
      if (leftMs <= 0 || !connection.awaitReadable((int) leftMs)) {
        throw new IOException("no answer from QEMU's monitor within " + REPLY_MS + " ms");
      }
      if (connection.read(in) < 0) {
        throw new IOException("QEMU's monitor has ended");
      }
    }
  }

  @Override
  public void close() {
    connection.close();
  }
}
