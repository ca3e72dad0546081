package org.understudy.daemon;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class PulseTest {
  private static final long MS = 1_000_000;

  @Test
  void whoWasAwayCountsFromHisReturn() {
    Pulse pulse = new Pulse(0);
    for (long now = 50; now <= 3_000; now += 50) {
      pulse.tick(now * MS);
    }
    assertEquals(3_000, pulse.awakeMs(3_000 * MS));
    assertEquals(3_400, pulse.awakeMs(3_400 * MS), "a late tick is no absence");
    // Stopped for five seconds: whoever asks first after it hears that nobody listened.
    assertEquals(0, pulse.awakeMs(8_000 * MS));
    pulse.tick(8_010 * MS);
    assertEquals(0, pulse.awakeMs(8_010 * MS));
    pulse.tick(8_060 * MS);
    assertEquals(50, pulse.awakeMs(8_060 * MS));
  }
}
