package org.understudy.daemon;

/**
 * Says on the standby host, from what link and guard last told, how the protected guest fares. Two
 * paths have to agree before anything is fenced: a silent link alone, or a silent guard alone, is
 * degraded protection. Pure: it keeps nothing and reads no clock.
 */
final class FailureDetector {
  /** What the guard last said of the guest. */
  enum GuestWord {
    ALIVE,
    CRASHED,
    ENDED_ON_PURPOSE,
    /** QEMU is gone and nobody could say why. */
    UNKNOWN,
    /** QEMU is gone and the guard is finding out why. */
    ENDING
  }

  /** What is to be done about it. */
  enum Verdict {
    /** The guest runs and is followed. */
    FOLLOWING,
    /** The guest is taken to run, but protection is not whole. */
    DEGRADED,
    /** The guest is gone or its host is: fence and promote. */
    FAILED,
    /** Somebody shut the guest down: protection ends. */
    ENDED
  }

  /**
   * A verdict and its reason as a sentence.
   *
   * @param verdict what is to be done
   * @param reason why, for status and log
   */
  record Judgement(Verdict verdict, String reason) {}

  private final long silentAfterMs;

  /** Either path counts as silent after {@code silentAfterMs} without a word. */
  FailureDetector(long silentAfterMs) {
    this.silentAfterMs = silentAfterMs;
  }

  /**
   * Judges.
   *
   * @param linkSilentMs time since the link's last word, {@link Long#MAX_VALUE} when it is down
   * @param word the guard's last word, null if it never spoke
   * @param guardSilentMs age of that word
   */
  Judgement judge(long linkSilentMs, GuestWord word, long guardSilentMs) {
    boolean linkSilent = linkSilentMs > silentAfterMs;
    boolean guardSilent = word == null || guardSilentMs > silentAfterMs;
    if (word == GuestWord.ENDED_ON_PURPOSE) {
      return new Judgement(Verdict.ENDED, "the guest was shut down on purpose");
    }
    if (word == GuestWord.CRASHED) {
      return new Judgement(Verdict.FAILED, "the guard says that the guest crashed");
    }
    if (word == null) {
      // Without a guard that ever spoke there is no second path: only a person can decide.
      return linkSilent
          ? new Judgement(Verdict.DEGRADED, "the link is silent and no guard was ever heard")
          : new Judgement(Verdict.DEGRADED, "no guard was heard yet");
    }
    if (guardSilent) {
      return linkSilent
          ? new Judgement(
              Verdict.FAILED, "link and guard are silent for more than " + silentAfterMs + " ms")
          : new Judgement(
              Verdict.DEGRADED,
              "the guard is silent for " + guardSilentMs + " ms, the link is alive");
    }
    if (word == GuestWord.UNKNOWN) {
      return new Judgement(
          Verdict.FAILED, "the guard says that QEMU is gone, and nobody could say why");
    }
    return linkSilent
        ? new Judgement(
            Verdict.DEGRADED, "the link is silent, the guard says that the guest is alive")
        : new Judgement(Verdict.FOLLOWING, "link and guard are heard");
  }
}
