package org.understudy.testbed;

/**
 * QEMU refused a QMP command; the message has the command, QEMU's error class and its description.
 */
public final class QmpException extends RuntimeException {
  private final String errorClass;

  QmpException(String command, String errorClass, String description) {
    super(command + ": " + errorClass + ": " + description);
    this.errorClass = errorClass;
  }

  /** QEMU's class, such as {@code GenericError} or {@code CommandNotFound}. */
  public String errorClass() {
    return errorClass;
  }
}
