package org.understudy.daemon;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

class BudgetTest {
  @Test
  void percentagesAndSizesComeBackAsTheyWereWritten() {
    for (String text : List.of("25%", "12.5%", "100%", "512MiB", "2GiB")) {
      assertEquals(text, Budget.parse(text).toString());
    }
    assertEquals("2GiB", Budget.parse("2048MiB").toString());
  }

  @Test
  void aShareNeverExceedsTheWhole() {
    assertEquals(256, Budget.parse("25%").bytesOf(1024));
    assertEquals(128, Budget.parse("12.5%").bytesOf(1024));
    assertEquals(1L << 40, Budget.parse("100%").bytesOf(1L << 40));
    assertEquals(1L << 20, Budget.parse("1GiB").bytesOf(1L << 20));
    assertEquals(1L << 30, Budget.parse("1GiB").bytesOf(1L << 40));
  }

  @Test
  void anythingElseIsRefused() {
    for (String text :
        List.of("", "25", "0%", "101%", "-5%", "1.5GiB", "0MiB", "5GB", "1e3%", "5 %", "%")) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> Budget.parse(text));
      assertEquals(
          "'"
              + text
              + "' is no share, expected a percentage as 25% (above 0, at most 100)"
              + " or a size as 512MiB or 2GiB",
          e.getMessage());
    }
  }
}
