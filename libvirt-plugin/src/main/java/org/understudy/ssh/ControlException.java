package org.understudy.ssh;

import java.io.IOException;

/** A peer's answer that it could not do what was asked; the message is the peer's sentence. */
public final class ControlException extends IOException {
  ControlException(String sentence) {
    super(sentence);
  }
}
