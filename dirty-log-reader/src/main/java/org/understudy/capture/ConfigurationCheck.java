package org.understudy.capture;

import java.io.IOException;

/**
 * Says whether the guest still has the devices for which its standby was made. Asked after each
 * epoch's pause and before the epoch is committed: the device state of a guest with other devices
 * cannot be loaded there.
 */
public interface ConfigurationCheck {
  /** For a guest whose devices nobody changes. */
  ConfigurationCheck NONE = () -> {};

  /**
   * Looks.
   *
   * @throws ConfigurationChanged with a sentence that says what changed
   * @throws IOException nobody can say
   */
  void check() throws IOException;

  /** The guest has other devices than its standby. */
  final class ConfigurationChanged extends IOException {
    private static final long serialVersionUID = 1;

    public ConfigurationChanged(String sentence) {
      super(sentence);
    }
  }
}
