package org.understudy.daemon;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.json.JsonLines;

@Timeout(120)
@SuppressWarnings("try") // a server that is only there
class LocalServerTest {
  @TempDir Path folder;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();
  private Path socket;

  @BeforeEach
  void place() {
    socket = folder.resolve("run/understudyd.sock");
  }

  @Test
  void linesOfBothKindsArriveInOrderThenTheExitCode() throws IOException {
    LocalVerb verb =
        (args, reply) -> {
          reply.out("for " + args.get("domain").asText() + " " + args.size());
          reply.err("careful ä");
          reply.out("two\nlines");
        };
    try (LocalServer server = LocalServer.start(socket, Map.of("protect", verb))) {
      assertEquals(0, call("protect", JsonLines.object().put("domain", "web")));
      assertEquals("for web 1\ntwo\nlines\n", text(out));
      assertEquals("careful ä\n", text(err));
    }
  }

  @Test
  void anExceptionIsOneErrorLineAndExitOne() throws IOException {
    LocalVerb verb =
        (args, reply) -> {
          throw new IOException("the domain 'x' is unknown");
        };
    try (LocalServer server = LocalServer.start(socket, Map.of("protect", verb))) {
      assertEquals(1, call("protect", JsonLines.object()));
      assertEquals(1, call("dance", JsonLines.object()));
    }
    assertEquals(
        """
        error: the domain 'x' is unknown
        error: this understudyd does not know the request 'dance'
        """,
        text(err));
    assertEquals("", text(out));
  }

  @Test
  void progressIsShownWhileTheVerbRuns() throws Exception {
    CountDownLatch shown = new CountDownLatch(1);
    LocalVerb verb =
        (args, reply) -> {
          reply.out("copying");
          assertTrue(shown.await(10, TimeUnit.SECONDS));
        };
    OutputStream watched =
        new OutputStream() {
          @Override
          public void write(int b) {
            shown.countDown();
          }
        };
    try (LocalServer server = LocalServer.start(socket, Map.of("protect", verb))) {
      PrintStream print = new PrintStream(watched, true, StandardCharsets.UTF_8);
      assertEquals(0, new LocalClient(socket).call("protect", JsonLines.object(), print, print));
    }
  }

  @Test
  void noDaemonIsOneSentenceThatSaysWhereAndWhatToDo() throws IOException {
    IOException e = assertThrows(IOException.class, () -> call("list", JsonLines.object()));
    assertTrue(
        e.getMessage().startsWith("understudyd is not running (no answer at " + socket + ": "),
        e.getMessage());
    assertTrue(e.getMessage().endsWith("systemctl start understudyd"), e.getMessage());
  }

  @Test
  void aDaemonThatEndsMeanwhileIsAnErrorNotSuccess() throws Exception {
    CountDownLatch running = new CountDownLatch(1);
    LocalVerb verb =
        (args, reply) -> {
          running.countDown();
          new CountDownLatch(1).await();
        };
    LocalServer server = LocalServer.start(socket, Map.of("wait", verb));
    CompletableFuture<Throwable> ended = new CompletableFuture<>();
    Thread client =
        new Thread(
            () ->
                ended.complete(
                    assertThrows(IOException.class, () -> call("wait", JsonLines.object()))));
    client.start();
    running.await();
    server.close();
    assertTrue(
        ended.get(10, TimeUnit.SECONDS).getMessage().contains("ended before it had answered"));
    assertFalse(Files.exists(socket));
  }

  @Test
  void whoGoesAwayIsNoticedAndTheVerbRunsOn() throws Exception {
    CompletableFuture<String> finished = new CompletableFuture<>();
    LocalVerb follow =
        (args, reply) -> {
          reply.out("first");
          while (reply.isOpen()) {
            Thread.onSpinWait();
          }
          reply.out("nobody hears this");
          finished.complete("ran to its end");
        };
    try (LocalServer server = LocalServer.start(socket, Map.of("events", follow))) {
      try (SocketChannel raw = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
        raw.write(ByteBuffer.wrap("{\"verb\":\"events\"}\n".getBytes(StandardCharsets.UTF_8)));
        assertTrue(raw.read(ByteBuffer.allocate(100)) > 0);
      }
      assertEquals("ran to its end", finished.get(10, TimeUnit.SECONDS));
    }
  }

  @Test
  void whoDoesNotReadIsCutOffAndHoldsNothingUp() throws Exception {
    CompletableFuture<Boolean> finished = new CompletableFuture<>();
    LocalVerb chatty =
        (args, reply) -> {
          for (int i = 0; i < 30_000; i++) {
            reply.out("x".repeat(1000));
          }
          finished.complete(reply.isOpen());
        };
    try (LocalServer server = LocalServer.start(socket, Map.of("events", chatty));
        SocketChannel raw = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
      raw.write(ByteBuffer.wrap("{\"verb\":\"events\"}\n".getBytes(StandardCharsets.UTF_8)));
      assertEquals(false, finished.get(20, TimeUnit.SECONDS));
    }
  }

  @Test
  void onlyTheOwnerCanConnectAndNothingElseIsLeftBeside() throws IOException {
    try (LocalServer server = LocalServer.start(socket, Map.of())) {
      assertEquals("rw-------", permissions(socket));
      assertEquals("rwx------", permissions(socket.getParent()));
      assertFalse(Files.exists(socket.resolveSibling("understudyd.sock.n")));
    }
  }

  @Test
  void aSecondDaemonIsRefusedAndTheFirstGoesOn() throws IOException {
    try (LocalServer first = LocalServer.start(socket, Map.of("list", (args, reply) -> {}))) {
      IOException e = assertThrows(IOException.class, () -> LocalServer.start(socket, Map.of()));
      assertEquals("another understudyd is running: it holds " + socket, e.getMessage());
      assertEquals(0, call("list", JsonLines.object()));
    }
  }

  @Test
  void aSocketLeftByADeadDaemonIsReplaced() throws IOException {
    Files.createDirectories(socket.getParent());
    try (ServerSocketChannel dead = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      dead.bind(UnixDomainSocketAddress.of(socket));
    }
    assertTrue(Files.exists(socket));
    try (LocalServer server =
        LocalServer.start(socket, Map.of("list", (args, reply) -> reply.out("alive")))) {
      assertEquals(0, call("list", JsonLines.object()));
      assertEquals("alive\n", text(out));
    }
  }

  @Test
  void garbageInsteadOfARequestEndsOnlyThatConnection() throws IOException {
    try (LocalServer server = LocalServer.start(socket, Map.of("list", (args, reply) -> {}))) {
      try (SocketChannel raw = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
        raw.write(ByteBuffer.wrap("GET / HTTP/1.1\n".getBytes(StandardCharsets.UTF_8)));
        assertEquals(-1, raw.read(ByteBuffer.allocate(10)));
      }
      assertEquals(0, call("list", JsonLines.object()));
    }
  }

  private int call(String verb, ObjectNode args) throws IOException {
    return new LocalClient(socket).call(verb, args, print(out), print(err));
  }

  private static PrintStream print(ByteArrayOutputStream bytes) {
    return new PrintStream(bytes, true, StandardCharsets.UTF_8);
  }

  private static String text(ByteArrayOutputStream bytes) {
    return bytes.toString(StandardCharsets.UTF_8);
  }

  private static String permissions(Path path) throws IOException {
    return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
  }
}
