package org.understudy.daemon;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class TableTest {
  @Test
  void columnsLineUpNumbersToTheRight() {
    Table table =
        new Table("Domain", ">RAM", "State")
            .row("web", Table.bytes(512L << 20), "following")
            .row("database-1", Table.bytes(1536), null);
    assertEquals(
        """
        Domain          RAM  State
        web         512 MiB  following
        database-1  1.5 KiB  -""",
        table.toString());
  }

  @Test
  void sizesAndTimesCarryTheirUnits() {
    assertEquals("0 B", Table.bytes(0));
    assertEquals("1023 B", Table.bytes(1023));
    assertEquals("1.0 KiB", Table.bytes(1024));
    assertEquals("3.4 GiB", Table.bytes((long) (3.4 * (1L << 30))));
    assertEquals("8192 PiB", Table.bytes(Long.MAX_VALUE));
    assertEquals("0.3 ms", Table.millis(0.34));
    assertEquals("120 ms", Table.millis(120));
    assertEquals("1.20 s", Table.millis(1200));
    assertEquals("5 min 3 s", Table.millis(303_400));
  }
}
