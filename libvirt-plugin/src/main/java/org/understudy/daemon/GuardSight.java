package org.understudy.daemon;

import java.util.HexFormat;
import java.util.UUID;
import org.understudy.daemon.FailureDetector.GuestWord;
import org.understudy.guard.GuardListener;
import org.understudy.guard.GuardWord;

/** What the standby hears of one guest's guard. */
final class GuardSight implements AutoCloseable {
  private final GuardListener listener;
  private final UUID session;

  /** Listens for {@code session} from now on. */
  GuardSight(GuardListener listener, UUID session, String key) {
    this.listener = listener;
    this.session = session;
    listener.expect(session, HexFormat.of().parseHex(key));
  }

  /** Its last word, null if it never spoke. */
  GuestWord word() {
    GuardWord last = listener.last(session).orElse(null);
    if (last == null) {
      return null;
    }
    return switch (last.guest()) {
      case ALIVE -> GuestWord.ALIVE;
      case CRASHED -> GuestWord.CRASHED;
      case ENDED_ON_PURPOSE -> GuestWord.ENDED_ON_PURPOSE;
      case UNKNOWN -> GuestWord.UNKNOWN;
      case ENDING -> GuestWord.ENDING;
    };
  }

  /**
   * Age of its last word in ms, {@link Long#MAX_VALUE} if it never spoke; no older than this
   * process has been awake to hear it.
   */
  long silentMs() {
    return listener
        .last(session)
        .map(word -> Math.min(word.ageMs(), Pulse.awakeMs()))
        .orElse(Long.MAX_VALUE);
  }

  UUID session() {
    return session;
  }

  @Override
  public void close() {
    listener.forget(session);
  }
}
