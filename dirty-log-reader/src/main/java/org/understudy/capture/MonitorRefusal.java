package org.understudy.capture;

import java.io.IOException;

/** QEMU understood a monitor command and refused it; the message holds QEMU's sentence. */
public final class MonitorRefusal extends IOException {
  private static final long serialVersionUID = 1;

  /**
   * @param command the command, such as {@code xen-save-devices-state}
   * @param sentence what QEMU said
   */
  public MonitorRefusal(String command, String sentence) {
    super("QEMU refused " + command + ": " + sentence);
  }
}
