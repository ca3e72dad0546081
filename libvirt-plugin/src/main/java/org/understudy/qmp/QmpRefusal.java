package org.understudy.qmp;

import java.io.IOException;

/** QEMU understood a command and refused it. */
public final class QmpRefusal extends IOException {
  private static final long serialVersionUID = 1;
  private final String command;
  private final String errorClass;
  private final String description;

  /**
   * @param command the command's name, such as {@code migrate-incoming}
   * @param errorClass QEMU's error class, such as {@code GenericError} or {@code CommandNotFound}
   * @param description QEMU's sentence
   */
  public QmpRefusal(String command, String errorClass, String description) {
    super("QEMU refused " + command + ": " + description);
    this.command = command;
    this.errorClass = errorClass;
    this.description = description;
  }

  /** The command's name. */
  public String command() {
    return command;
  }

  /** QEMU's error class. */
  public String errorClass() {
    return errorClass;
  }

  /** QEMU's sentence. */
  public String description() {
    return description;
  }
}
