package org.understudy.qmp;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.linux.PidFd;

/** The line's reading of what QEMU's monitor says; with a QEMU it is tried by RecoveryTest. */
class OutOfBandLineTest {
  private static final String GREETING =
      "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n";

  private static final String EVENT = "{\"event\": \"STOP\"}\r\n";
  private static final String ANSWER = "{\"return\": {}, \"id\": \"ID\"}\r\n";

  @TempDir Path folder;
  private ServerSocketChannel server;

  @BeforeEach
  void listen() throws IOException {
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(socket()));
  }

  @AfterEach
  void end() throws IOException {
    server.close();
  }

  private Path socket() {
    return folder.resolve("qmp");
  }

  /** QEMU's side: says {@code first}, and {@code answers} with the id of each request put in. */
  private CompletableFuture<String> qemu(String first, String... answers) {
    return CompletableFuture.supplyAsync(
        () -> {
          StringBuilder heard = new StringBuilder();
          try (SocketChannel channel = server.accept();
              BufferedReader in =
                  new BufferedReader(Channels.newReader(channel, StandardCharsets.UTF_8))) {
            say(channel, first);
            for (String answer : answers) {
              String request = in.readLine();
              heard.append(request).append('\n');
              say(
                  channel,
                  answer.replace("ID", request.replaceAll(".*\"id\":\"([^\"]*)\".*", "$1")));
            }
            in.readLine();
          } catch (IOException e) {
            heard.append(e);
          }
          return heard.toString();
        });
  }

  private static void say(SocketChannel channel, String text) throws IOException {
    channel.write(ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
  }

  @Test
  void theCommandGoesOutOfBandAndEventsArePassedOver() throws Exception {
    CompletableFuture<String> qemu =
        qemu(GREETING, EVENT + ANSWER, EVENT + ANSWER.replace("ID", "other") + ANSWER);
    try (OutOfBandLine line = OutOfBandLine.agree(socket())) {
      line.migrateRecover(Path.of("/run/r"));
    }
    String heard = qemu.get();
    assertTrue(heard.contains("\"enable\":[\"oob\"]"), heard);
    assertTrue(heard.contains("\"exec-oob\":\"migrate-recover\""), heard);
    assertTrue(heard.contains("\"uri\":\"unix:/run/r\""), heard);
  }

  @Test
  void aLineTakenOverBeginsInTheMiddleOfSomethingAndHasQemusRefusal() throws Exception {
    CompletableFuture<String> qemu =
        qemu(
            GREETING,
            ANSWER + "mestamp\": 3}}\r\n",
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not paused\"}, \"id\": \"ID\"}\r\n");
    try (OutOfBandLine first = OutOfBandLine.agree(socket());
        PidFd self = new PidFd((int) ProcessHandle.current().pid())) {
      try (OutOfBandLine later = OutOfBandLine.takeOver(self.getFd(first.fd()))) {
        IOException refused =
            assertThrows(IOException.class, () -> later.migrateRecover(Path.of("/run/r")));
        assertTrue(refused.getMessage().contains("not paused"), refused.getMessage());
      }
    }
    qemu.get();
  }

  @Test
  void aQemuWithoutOutOfBandCommandsAndOneThatEndsAreSaid() throws Exception {
    CompletableFuture<String> without = qemu(GREETING.replace("\"oob\"", ""));
    IOException refused =
        assertThrows(IOException.class, () -> OutOfBandLine.agree(socket()).close());
    assertTrue(refused.getMessage().contains("out-of-band"), refused.getMessage());
    without.get();
    CompletableFuture<Void> ending =
        CompletableFuture.runAsync(
            () -> {
              try {
                server.accept().close();
              } catch (IOException e) {
                throw new IllegalStateException(e);
              }
            });
    IOException ended =
        assertThrows(IOException.class, () -> OutOfBandLine.agree(socket()).close());
    assertEquals("QEMU's monitor has ended", ended.getMessage());
    ending.get();
  }
}
