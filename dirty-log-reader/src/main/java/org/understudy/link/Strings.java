package org.understudy.link;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Strings of the wire: u16 length and UTF-8. */
final class Strings {
  private Strings() {}

  /** Writes a string, cut at the format's limit. */
  static void put(ByteBuffer out, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    if (bytes.length > LinkFormat.MAX_STRING_BYTES) {
      bytes = Arrays.copyOf(bytes, LinkFormat.MAX_STRING_BYTES);
    }
    out.putShort((short) bytes.length).put(bytes);
  }

  static String get(ByteBuffer in, long offset) throws IOException {
    int length = Short.toUnsignedInt(in.getShort());
    if (length > LinkFormat.MAX_STRING_BYTES || length > in.remaining()) {
      throw new LinkFormatException(
          offset, "a string of " + length + " bytes, " + in.remaining() + " are left");
    }
    byte[] bytes = new byte[length];
    in.get(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
