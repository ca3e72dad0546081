package org.understudy.ssh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.json.JsonLines;

@Timeout(120)
class ControlTest {
  private static final Duration DEADLINE = Duration.ofSeconds(10);

  @TempDir Path folder;

  private final CountDownLatch release = new CountDownLatch(1);
  private TwoHosts hosts;
  private PeerConnection connection;
  private ControlClient control;

  @BeforeEach
  void connect() throws IOException {
    Map<String, ControlVerb> verbs =
        Map.of(
            "echo", (peer, args) -> args.deepCopy().put("peer", peer),
            "fail",
                (peer, args) -> {
                  throw new IOException("no room for 12 GiB in /tiers");
                },
            "wait",
                (peer, args) -> {
                  release.await();
                  return JsonLines.object();
                });
    hosts =
        new TwoHosts(
            folder, SshSettings.DEFAULT, Map.of(ControlClient.CHANNEL, new ControlService(verbs)));
    connection = hosts.connect();
    control = ControlClient.open(connection);
  }

  @AfterEach
  void disconnect() throws IOException {
    release.countDown();
    connection.close();
    hosts.close();
  }

  @Test
  void anAnswerComesBackWithTheAskersName() throws IOException {
    ObjectNode answer = control.call("echo", JsonLines.object().put("x", 7), DEADLINE);
    assertEquals(7, answer.get("x").asInt());
    assertEquals("a", answer.get("peer").asText());
  }

  @Test
  void manyThreadsGetTheirOwnAnswersWhileALongRequestRuns() throws Exception {
    CompletableFuture<Void> longOne =
        CompletableFuture.runAsync(() -> call("wait", JsonLines.object()));
    List<CompletableFuture<Void>> askers = new ArrayList<>();
    for (int thread = 0; thread < 6; thread++) {
      int first = thread * 1000;
      askers.add(
          CompletableFuture.runAsync(
              () -> {
                for (int i = first; i < first + 100; i++) {
                  ObjectNode args =
                      JsonLines.object().put("i", i).put("fill", "x".repeat(i % 50 * 1000));
                  assertEquals(i, call("echo", args).get("i").asInt());
                }
              }));
    }
    for (CompletableFuture<Void> asker : askers) {
      asker.get(30, TimeUnit.SECONDS);
    }
    assertEquals(false, longOne.isDone());
    release.countDown();
    longOne.get(10, TimeUnit.SECONDS);
  }

  @Test
  void aPeersFailureIsItsSentence() {
    ControlException e =
        assertThrows(
            ControlException.class, () -> control.call("fail", JsonLines.object(), DEADLINE));
    assertEquals("b: no room for 12 GiB in /tiers", e.getMessage());
    e =
        assertThrows(
            ControlException.class, () -> control.call("dance", JsonLines.object(), DEADLINE));
    assertEquals("b: the request 'dance' is unknown on this host", e.getMessage());
  }

  @Test
  void aLateAnswerIsAnErrorAndTheNextCallGetsItsOwn() throws IOException {
    IOException e =
        assertThrows(
            IOException.class,
            () -> control.call("wait", JsonLines.object(), Duration.ofMillis(200)));
    assertEquals("b did not answer 'wait' within 200 ms", e.getMessage());
    release.countDown();
    assertEquals(
        1, control.call("echo", JsonLines.object().put("x", 1), DEADLINE).get("x").asInt());
  }

  @Test
  void aBrokenConnectionEndsWaitingAndLaterCalls() throws Exception {
    CompletableFuture<ObjectNode> waiting =
        CompletableFuture.supplyAsync(() -> call("wait", JsonLines.object()));
    control.call("echo", JsonLines.object(), DEADLINE);
    hosts.serverOfB.close();
    Exception e = assertThrows(Exception.class, () -> waiting.get(10, TimeUnit.SECONDS));
    assertTrue(e.getMessage().contains("connection to b ended before"), e.getMessage());
    IOException later =
        assertThrows(IOException.class, () -> control.call("echo", JsonLines.object(), DEADLINE));
    assertTrue(later.getMessage().contains("to b"), later.getMessage());
  }

  @Test
  void aLineBeyondTheLimitIsRefusedOnBothSides() throws IOException {
    ObjectNode large = JsonLines.object().put("x", "y".repeat(JsonLines.LIMIT_BYTES));
    assertThrows(IOException.class, () -> control.call("echo", large, DEADLINE));
    try (ByteChannel raw = connection.openChannel(ControlClient.CHANNEL)) {
      ByteBuffer endless = ByteBuffer.allocate(64 << 10);
      assertThrows(
          IOException.class,
          () -> {
            while (true) {
              raw.write(endless.clear());
            }
          });
    }
    assertEquals(
        1, control.call("echo", JsonLines.object().put("x", 1), DEADLINE).get("x").asInt());
  }

  private ObjectNode call(String verb, ObjectNode args) {
    try {
      return control.call(verb, args, Duration.ofSeconds(30));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
