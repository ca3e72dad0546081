package org.understudy.link;

import java.io.IOException;

/** The stream is not what docs/formats/epoch-link.md allows. */
public final class LinkFormatException extends IOException {
  private static final long serialVersionUID = 1;

  /**
   * A refusal.
   *
   * @param offset of the offending frame in the stream, in bytes
   * @param reason what was found and what was expected
   */
  public LinkFormatException(long offset, String reason) {
    super("epoch link, offset 0x" + Long.toHexString(offset) + ": " + reason);
  }
}
