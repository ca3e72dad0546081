package org.understudy.json;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class JsonLinesTest {
  private static final int LIMIT = 5000;

  @Test
  void linesOfAllSizesSurviveAChannelThatDeliversThemInPieces() throws IOException {
    long seed = System.nanoTime();
    System.out.println("seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    for (int round = 0; round < 200; round++) {
      Memory memory = new Memory(random.split());
      JsonLines lines = lines(memory);
      List<ObjectNode> sent = new ArrayList<>();
      for (int i = random.nextInt(20); i >= 0; i--) {
        ObjectNode node =
            JsonLines.object()
                .put("n", random.nextLong())
                .put("text", "ä\n\"x".repeat(random.nextInt(400)));
        sent.add(node);
        lines.write(node);
      }
      memory.rewind();
      for (ObjectNode node : sent) {
        assertEquals(node.get("text"), lines.read().get("text"));
      }
      assertNull(lines.read());
    }
  }

  @Test
  void aLineOfExactlyTheLimitPassesAndOneByteMoreDoesNot() throws IOException {
    String frame = "{\"a\":\"\"}";
    String fits = "{\"a\":\"" + "x".repeat(LIMIT - frame.length()) + "\"}\n";
    assertEquals(LIMIT - frame.length(), lines(fits).read().get("a").asText().length());
    assertSentence(
        "longer than the 5000 bytes",
        "{\"a\":\"" + "x".repeat(LIMIT - frame.length() + 1) + "\"}\n");
    assertSentence("longer than the 5000 bytes", "x".repeat(20_000));
    ObjectNode large = JsonLines.object().put("a", "x".repeat(LIMIT));
    assertThrows(IOException.class, () -> lines("").write(large));
  }

  @Test
  void whatIsNoJsonObjectIsRefusedWithItsText() {
    assertSentence("is not a JSON object: [1]", "[1]\n");
    assertSentence("is not JSON", "{\"a\":1\n");
    assertSentence("is not JSON", "{\"a\":1} {}\n");
    assertSentence("is not JSON", "{\"a\":1,\"a\":2}\n");
    assertSentence("is not JSON", "{\"a\":" + "[".repeat(100) + "]".repeat(100) + "}\n");
    assertSentence("is not a JSON object", "\n");
    assertSentence("ended inside a line, after 4 bytes", "{\"a\"");
  }

  @Test
  void randomBytesNeverDoWorseThanAnIoException() {
    long seed = System.nanoTime();
    System.out.println("seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    for (int round = 0; round < 3000; round++) {
      byte[] bytes = new byte[random.nextInt(300)];
      random.nextBytes(bytes);
      byte[] json = "{\"verb\":\"x\",\"n\":[1,2,{}]}\n".getBytes(StandardCharsets.UTF_8);
      if (random.nextBoolean()) {
        bytes = json;
        bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
      }
      JsonLines lines = lines(new Memory(bytes, random.split()));
      try {
        while (lines.read() != null) {}
      } catch (IOException e) {
        assertTrue(e.getMessage().contains("from peer"), e.getMessage());
      }
    }
  }

  private static void assertSentence(String part, String text) {
    IOException e = assertThrows(IOException.class, () -> lines(text).read());
    assertTrue(e.getMessage().contains(part), e.getMessage());
    assertTrue(e.getMessage().length() < 300, e.getMessage());
  }

  private static JsonLines lines(String text) {
    return lines(new Memory(text.getBytes(StandardCharsets.UTF_8), new SplittableRandom(1)));
  }

  private static JsonLines lines(Memory memory) {
    return new JsonLines(memory, "peer", LIMIT);
  }

  /** A channel in memory that reads and writes a random number of bytes at once. */
  private static final class Memory implements ByteChannel {
    private final SplittableRandom random;
    private final ByteArrayOutputStream written = new ByteArrayOutputStream();
    private ByteBuffer source;

    Memory(SplittableRandom random) {
      this(new byte[0], random);
    }

    Memory(byte[] content, SplittableRandom random) {
      this.random = random;
      this.source = ByteBuffer.wrap(content);
    }

    void rewind() {
      source = ByteBuffer.wrap(written.toByteArray());
    }

    @Override
    public int read(ByteBuffer target) {
      assertTrue(target.hasRemaining());
      if (!source.hasRemaining()) {
        return -1;
      }
      int count = 1 + random.nextInt(Math.min(source.remaining(), target.remaining()));
      target.put(target.position(), source, source.position(), count);
      target.position(target.position() + count);
      source.position(source.position() + count);
      return count;
    }

    @Override
    public int write(ByteBuffer from) {
      int count = 1 + random.nextInt(from.remaining());
      for (int i = 0; i < count; i++) {
        written.write(from.get());
      }
      return count;
    }

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }
}
