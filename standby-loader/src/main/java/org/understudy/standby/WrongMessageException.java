package org.understudy.standby;

import java.io.IOException;

/** A state of the standby that did not take a message; it says which and why. */
public final class WrongMessageException extends IOException {
  WrongMessageException(StandbyState state, StandbyState.Message message) {
    super("a standby that is " + state + " does not take " + message);
  }
}
