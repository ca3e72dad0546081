package org.understudy.qemustream;

import java.io.IOException;

/** Bytes on the return path that QEMU does not send; the connection cannot be used any more. */
public final class ReturnPathException extends IOException {
  ReturnPathException(String message) {
    super(message);
  }
}
