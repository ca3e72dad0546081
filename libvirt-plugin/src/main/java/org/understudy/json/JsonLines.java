package org.understudy.json;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * JSON objects over a byte channel, UTF-8, one a line, each line at most {@code limitBytes} without
 * its end. What comes from the other side is limited before it is kept.
 *
 * <p>One thread may read while others write; writes of several threads do not mix.
 */
public final class JsonLines implements AutoCloseable {
  /** Lines of 1 MiB: a domain's XML fits many times over. */
  public static final int LIMIT_BYTES = 1 << 20;

  /** Parses strictly (no duplicate keys, nothing after the value, nesting up to 64 levels). */
  public static final ObjectMapper MAPPER =
      JsonMapper.builder(
              com.fasterxml.jackson.core.JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(64)
                          .maxStringLength(LIMIT_BYTES)
                          .build())
                  .enable(com.fasterxml.jackson.core.StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private final ByteChannel channel;
  private final String peer;
  private final int limitBytes;
  private final Object writing = new Object();
  private ByteBuffer received;

  /**
   * @param peer who is on the other side, for error sentences
   * @param limitBytes longest line accepted and sent, in bytes without its end
   */
  public JsonLines(ByteChannel channel, String peer, int limitBytes) {
    this.channel = channel;
    this.peer = peer;
    this.limitBytes = limitBytes;
    this.received = ByteBuffer.allocate(Math.min(4096, limitBytes + 1)).flip();
  }

  /** An empty object to fill. */
  public static ObjectNode object() {
    return MAPPER.createObjectNode();
  }

  /**
   * The next object, or null at the end of the stream.
   *
   * @throws IOException if a line is too long, is not a JSON object, or ends with the stream
   */
  public ObjectNode read() throws IOException {
    int scanned = 0;
    while (true) {
      for (int at = received.position() + scanned; at < received.limit(); at++) {
        if (received.get(at) == '\n') {
          return parse(take(at));
        }
      }
      scanned = received.remaining();
      if (scanned > limitBytes) {
        throw new IOException(
            "a line from %s is longer than the %d bytes allowed".formatted(peer, limitBytes));
      }
      makeRoom();
      int position = received.position();
      received.position(received.limit()).limit(received.capacity());
      int count = channel.read(received);
      received.flip().position(position);
      if (count < 0) {
        if (scanned > 0) {
          throw new IOException(
              "the stream from %s ended inside a line, after %d bytes of it"
                  .formatted(peer, scanned));
        }
        return null;
      }
    }
  }

  /** Writes one object and its line end. */
  public void write(ObjectNode object) throws IOException {
    byte[] json = MAPPER.writeValueAsBytes(object);
    if (json.length > limitBytes) {
      throw new IOException(
          "a line of %d bytes for %s is longer than the %d allowed"
              .formatted(json.length, peer, limitBytes));
    }
    byte[] line = Arrays.copyOf(json, json.length + 1);
    line[json.length] = '\n';
    ByteBuffer out = ByteBuffer.wrap(line);
    synchronized (writing) {
      while (out.hasRemaining()) {
        channel.write(out);
      }
    }
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }

  private void makeRoom() {
    if (received.limit() < received.capacity()) {
      return;
    }
    if (received.position() > 0) {
      received.compact().flip();
    } else {
      int capacity = (int) Math.min(received.capacity() * 2L, limitBytes + 1L);
      received = ByteBuffer.allocate(capacity).put(received).flip();
    }
  }

  private byte[] take(int lineEnd) {
    byte[] line = new byte[lineEnd - received.position()];
    received.get(line).get();
    return line;
  }

  private ObjectNode parse(byte[] line) throws IOException {
    JsonNode node;
    try {
      node = MAPPER.readTree(line);
    } catch (JsonProcessingException e) {
      throw new IOException(
          "a line from %s is not JSON (%s): %s"
              .formatted(peer, e.getOriginalMessage(), excerpt(line)),
          e);
    }
    if (node instanceof ObjectNode object) {
      return object;
    }
    throw new IOException("a line from %s is not a JSON object: %s".formatted(peer, excerpt(line)));
  }

  private static String excerpt(byte[] line) {
    String text =
        new String(line, 0, Math.min(line.length, 80), StandardCharsets.UTF_8)
            .replaceAll("\\p{Cntrl}", "?");
    return line.length > 80 ? text + "…" : text;
  }
}
