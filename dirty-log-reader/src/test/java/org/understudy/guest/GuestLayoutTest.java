package org.understudy.guest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

class GuestLayoutTest {
  private final GuestLayout layout =
      new GuestLayout(
          List.of(
              new RamBlock("pc.ram", 8 * 4096),
              new RamBlock("vga.vram", 2 * 4096),
              new RamBlock("pc.bios", 4096)));

  @Test
  void pageNumbersRunAcrossBlocks() {
    assertEquals(11, layout.pages());
    for (int page = 0; page < layout.pages(); page++) {
      assertEquals(page, layout.pageAt(layout.blockOf(page), layout.offsetOf(page)));
    }
    assertEquals(1, layout.blockOf(8));
    assertEquals(2, layout.blockOf(10));
    assertEquals(0, layout.offsetOf(10));
  }

  @Test
  void wrongBlocksAreRefused() {
    assertThrows(IndexOutOfBoundsException.class, () -> layout.blockOf(11));
    assertThrows(IndexOutOfBoundsException.class, () -> layout.pageAt(1, 2 * 4096));
    assertThrows(IllegalArgumentException.class, () -> new RamBlock("pc.ram", 4097));
    assertThrows(
        IllegalArgumentException.class,
        () -> new GuestLayout(List.of(new RamBlock("a", 4096), new RamBlock("a", 4096))));
  }
}
