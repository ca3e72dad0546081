package org.understudy.capture;

import java.io.IOException;

/** A guard in this process that a test can make say anything; it ends no pause. */
final class LenientGuard implements PauseGuard {
  int begun;
  int firstBytes;
  int asked;
  boolean gone;
  boolean inTime = true;

  @Override
  public void begin(int pipeFd) throws IOException {
    if (gone) {
      throw new IOException("the guard is gone");
    }
    begun++;
  }

  @Override
  public void firstByte() {
    firstBytes++;
  }

  @Override
  public boolean endedInTime() {
    asked++;
    return inTime;
  }
}
