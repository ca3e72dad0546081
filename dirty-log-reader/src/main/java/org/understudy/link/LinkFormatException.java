package org.understudy.link;

import java.io.IOException;

/** Bytes that are not an epoch link: where they are, what was found and what was expected. */
public final class LinkFormatException extends IOException {
  private final long offset;

  /**
   * Refuses a stream.
   *
   * @param offset bytes from the beginning of the stream
   * @param reason what was found and expected
   */
  public LinkFormatException(long offset, String reason) {
    super(reason + ", at offset " + offset + " of the stream");
    this.offset = offset;
  }

  /** Bytes from the beginning of the stream to the frame or field refused. */
  public long offset() {
    return offset;
  }
}
