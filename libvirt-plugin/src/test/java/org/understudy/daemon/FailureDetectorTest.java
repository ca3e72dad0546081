package org.understudy.daemon;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.understudy.daemon.FailureDetector.GuestWord;
import org.understudy.daemon.FailureDetector.Verdict;

class FailureDetectorTest {
  private static final long DOWN = Long.MAX_VALUE;
  private final FailureDetector detector = new FailureDetector(1500);

  private Verdict judge(long linkSilentMs, GuestWord word, long guardSilentMs) {
    return detector.judge(linkSilentMs, word, guardSilentMs).verdict();
  }

  @Test
  void oneSilentPathIsNeverAFailure() {
    assertEquals(Verdict.DEGRADED, judge(DOWN, GuestWord.ALIVE, 200));
    assertEquals(Verdict.DEGRADED, judge(100, GuestWord.ALIVE, 60_000));
    assertEquals(Verdict.DEGRADED, judge(DOWN, null, DOWN));
  }

  @Test
  void bothSilentPathsAreAFailure() {
    assertEquals(Verdict.FAILED, judge(1501, GuestWord.ALIVE, 1501));
    assertEquals(Verdict.DEGRADED, judge(1501, GuestWord.ALIVE, 1500));
  }

  @Test
  void theGuardsWordOfACrashIsEnough() {
    assertEquals(Verdict.FAILED, judge(10, GuestWord.CRASHED, 10));
    assertEquals(Verdict.FAILED, judge(DOWN, GuestWord.CRASHED, 60_000));
  }

  @Test
  void nothingIsFencedWhileTheGuardFindsOutWhyQemuEnded() {
    assertEquals(Verdict.DEGRADED, judge(DOWN, GuestWord.ENDING, 100));
    assertEquals(Verdict.FAILED, judge(DOWN, GuestWord.UNKNOWN, 100));
    assertEquals(Verdict.FAILED, judge(DOWN, GuestWord.ENDING, 1501));
  }

  @Test
  void anOrderlyEndEndsProtectionEvenWhenEverythingIsSilentAfterwards() {
    assertEquals(Verdict.ENDED, judge(DOWN, GuestWord.ENDED_ON_PURPOSE, DOWN));
  }

  @Test
  void healthIsFollowing() {
    assertEquals(Verdict.FOLLOWING, judge(100, GuestWord.ALIVE, 200));
  }
}
