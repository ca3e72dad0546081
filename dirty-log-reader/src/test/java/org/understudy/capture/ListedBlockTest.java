package org.understudy.capture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.List;
import org.junit.jupiter.api.Test;

class ListedBlockTest {
  @Test
  void blocksWithoutAddressesAreRead() throws IOException {
    List<ListedBlock> blocks =
        ListedBlock.parse(
            """
                          Block Name    PSize              Offset               Used              Total
                              pc.ram    4 KiB  0x0000000000000000 0x0000000020000000 0x0000000020000000
            0000:00:04.0/virtio-net-pci.rom    4 KiB  0x0000000021100000 0x0000000000040000 0x0000000000040000
                /rom@etc/acpi/tables    2 MiB  0x0000000021140000 0x0000000000020000 0x0000000000200000
            """);
    assertEquals(3, blocks.size());
    assertEquals(new ListedBlock("pc.ram", 0, 0x20000000, 0x20000000, 0), blocks.get(0));
    assertEquals("0000:00:04.0/virtio-net-pci.rom", blocks.get(1).name());
    assertEquals(0x20000, blocks.get(2).usedBytes());
    assertEquals(0x200000, blocks.get(2).totalBytes());
  }

  @Test
  void blocksWithAddressesAreRead() throws IOException {
    List<ListedBlock> blocks =
        ListedBlock.parse(
            """
                          Block Name    PSize              Offset               Used              Total                HVA  RO
                              pc.ram    4 KiB  0x0000000000000000 0x0000000020000000 0x0000000020000000 0x00007f1234000000  rw
                             pc.bios    4 KiB  0x0000000020000000 0x0000000000040000 0x0000000000040000 0x00007f1233e00000  ro
            """);
    assertEquals(0x7f1234000000L, blocks.get(0).hostAddress());
    assertEquals(0x7f1233e00000L, blocks.get(1).hostAddress());
  }

  @Test
  void memoryThatNoMigrationCarriesHasNoName() throws IOException {
    List<ListedBlock> blocks =
        ListedBlock.parse(
            "                       4 KiB  0x0000000000000000 0x0000000000001000 0x0000000000001000");
    assertEquals(List.of(new ListedBlock("", 0, 0x1000, 0x1000, 0)), blocks);
  }

  @Test
  void whatCannotBeProtectedIsRefusedWithASentence() {
    refused("", "lists no RAM blocks");
    refused("pc.ram 4 KiB what", "cannot read this line");
    refused(
        "  a    4 KiB  0x0000000000000000 0x0000000000000800 0x0000000000001000",
        "uses 2048 of 4096 bytes");
  }

  private static void refused(String answer, String sentence) {
    IOException e = assertThrows(IOException.class, () -> ListedBlock.parse(answer));
    assertTrue(e.getMessage().contains(sentence), e.getMessage());
  }
}
