package org.understudy.capture;

import java.io.IOException;
import java.util.Arrays;
import org.understudy.dirtylog.DirtyLog;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;

final class ComparingLog implements DirtyLog {
  private final GuestMapping mapping;
  private final byte[] before;
  private final byte[] now;

  ComparingLog(GuestMapping mapping) {
    this.mapping = mapping;
    before = new byte[Math.toIntExact(mapping.layout().bytes())];
    now = new byte[before.length];
  }

  @Override
  public String method() {
    return "compare";
  }

  @Override
  public void look(PageSet into) throws IOException {
    WitnessLog.read(mapping, now);
    for (int p = 0; p < into.capacity(); p++) {
      if (!Arrays.equals(before, p << 12, (p + 1) << 12, now, p << 12, (p + 1) << 12)) {
        into.add(p);
      }
    }
  }

  @Override
  public void rearm(PageSet into) throws IOException {
    look(into);
    System.arraycopy(now, 0, before, 0, now.length);
  }

  @Override
  public void close() {}
}
