package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.PrintStream;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import org.understudy.json.JsonLines;

/** The CLI's side of the daemon's local socket. */
public final class LocalClient {
  private final Path socket;

  public LocalClient(Path socket) {
    this.socket = socket;
  }

  /**
   * Asks and prints the answer as it comes.
   *
   * @return the exit code
   * @throws IOException with a sentence if the daemon is not running or goes away
   */
  public int call(String verb, ObjectNode args, PrintStream out, PrintStream err)
      throws IOException {
    try (JsonLines lines =
        new JsonLines(connect(), "understudyd at " + socket, JsonLines.LIMIT_BYTES)) {
      lines.write(args.put("verb", verb));
      for (ObjectNode line = lines.read(); line != null; line = lines.read()) {
        if (line.has("out")) {
          out.println(line.get("out").asText());
        } else if (line.has("err")) {
          err.println(line.get("err").asText());
        } else if (line.has("exit")) {
          return line.get("exit").asInt(1);
        }
      }
      throw new IOException(
          "understudyd at %s ended before it had answered '%s'".formatted(socket, verb));
    }
  }

  private SocketChannel connect() throws IOException {
    try {
      return SocketChannel.open(UnixDomainSocketAddress.of(socket));
    } catch (IOException e) {
      throw new IOException(
          "understudyd is not running (no answer at %s: %s); start it with: systemctl start understudyd"
              .formatted(socket, e.getMessage()),
          e);
    }
  }
}
