package org.understudy.capture;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.understudy.guest.GuestMapping;
import org.understudy.testbed.GuestImages.Qemu;

@Tag("qemu")
class RamMapTest {
  private static final Path OVMF = Path.of("/usr/share/OVMF/OVMF_CODE_4M.fd");

  @TempDir Path folder;

  @BeforeAll
  static void needsQemu() {
    Assumptions.assumeTrue(Files.isExecutable(TestGuest.PROGRAM), "no " + TestGuest.PROGRAM);
  }

  @ParameterizedTest
  @MethodSource("org.understudy.capture.TestGuest#qemus")
  void pcWithBiosVgaAndTwoEqualRoms(Qemu qemu) throws IOException {
    try (TestGuest guest =
        new TestGuest(
            qemu,
            folder,
            "-machine",
            "pc",
            "-m",
            "128",
            "-smp",
            "4",
            "-vga",
            "std",
            "-device",
            "virtio-net-pci",
            "-device",
            "virtio-net-pci,romfile=efi-virtio.rom",
            "-device",
            "e1000",
            "-device",
            "virtio-balloon-pci")) {
      GuestMapping mapping = waitForRom(guest, "seabios");
      assertShows(guest, mapping, "pc.ram", 0x100000, 0x100000);
      assertShows(guest, mapping, "pc.bios", 0xfffc0000L, 0);
      assertTrue(mapping.layout().blockNamed("/rom@etc/acpi/tables") >= 0);
      assertRom(mapping, "0000:00:03.0/virtio-net-pci.rom", "efi-virtio.rom");
      assertRom(mapping, "0000:00:04.0/virtio-net-pci.rom", "efi-virtio.rom");
      assertRom(mapping, "0000:00:05.0/e1000.rom", "efi-e1000.rom");
      assertTrue(RamMap.unchanged(guest.monitor, mapping.layout()));
    }
  }

  @ParameterizedTest
  @MethodSource("org.understudy.capture.TestGuest#qemus")
  void q35WithFlashAndMemoryAboveTheHole(Qemu qemu) throws IOException {
    Assumptions.assumeTrue(Files.exists(OVMF), "no " + OVMF);
    Path variables = folder.resolve("vars.fd");
    Files.copy(Path.of("/usr/share/OVMF/OVMF_VARS_4M.fd"), variables);
    try (TestGuest guest =
        new TestGuest(
            qemu,
            folder,
            "-machine",
            "q35",
            "-m",
            "5G",
            "-smp",
            "4",
            "-vga",
            "std",
            "-device",
            "virtio-net-pci",
            "-drive",
            "if=pflash,format=raw,readonly=on,file=" + OVMF,
            "-drive",
            "if=pflash,format=raw,file=" + variables)) {
      GuestMapping mapping = RamMap.survey(guest.monitor, guest.pid());
      assertEquals(5L << 30, mapping.layout().blocks().get(0).bytes());
      assertShows(guest, mapping, "pc.ram", 0x100000, 0x100000);
      assertShows(guest, mapping, "pc.ram", 0x1_0000_0000L, 0x8000_0000L);
      assertShows(guest, mapping, "system.flash0", 0xffc84000L, 0);
      assertShows(guest, mapping, "system.flash1", 0xffc00000L, 0);
      byte[] code = Files.readAllBytes(OVMF);
      assertArrayEquals(code, read(mapping, "system.flash0", 0, code.length));
    }
  }

  @ParameterizedTest
  @MethodSource("org.understudy.capture.TestGuest#qemus")
  void memoryInAFileIsFoundToo(Qemu qemu) throws IOException {
    try (TestGuest guest =
        new TestGuest(
            qemu,
            folder,
            "-machine",
            "q35,memory-backend=m0",
            "-m",
            "64",
            "-object",
            "memory-backend-memfd,id=m0,size=64M,share=on")) {
      GuestMapping mapping = RamMap.survey(guest.monitor, guest.pid());
      assertShows(guest, mapping, mapping.layout().blocks().get(0).name(), 0x100000, 0x100000);
    }
  }

  @ParameterizedTest
  @MethodSource("org.understudy.capture.TestGuest#qemus")
  void aPluggedDeviceChangesTheLayout(Qemu qemu) throws IOException {
    try (TestGuest guest = new TestGuest(qemu, folder, "-machine", "pc", "-m", "64", "-S")) {
      GuestMapping mapping = RamMap.survey(guest.monitor, guest.pid());
      guest.monitor.humanCommand("device_add virtio-net-pci,id=n0");
      assertFalse(RamMap.unchanged(guest.monitor, mapping.layout()));
      GuestMapping after = RamMap.survey(guest.monitor, guest.pid());
      assertEquals(mapping.layout().blocks().size() + 1, after.layout().blocks().size());
    }
  }

  @ParameterizedTest
  @MethodSource("org.understudy.capture.TestGuest#qemus")
  void memoryWithoutANameThatTheGuestDoesNotSeeIsLeftOut(Qemu qemu) throws IOException {
    try (TestGuest guest = new TestGuest(qemu, folder, "-machine", "pc", "-m", "64", "-S")) {
      GuestMapping mapping = RamMap.survey(guest.monitor, guest.pid());
      guest.monitor.humanCommand("object_add memory-backend-ram,id=spare,size=1M");
      assertTrue(
          ListedBlock.parse(guest.monitor.humanCommand("info ramblock")).stream()
              .anyMatch(block -> block.name().isEmpty() && block.totalBytes() == 1 << 20));
      assertTrue(RamMap.unchanged(guest.monitor, mapping.layout()));
      assertEquals(mapping.layout(), RamMap.survey(guest.monitor, guest.pid()).layout());
    }
  }

  /** Waits until the firmware is at work, so that memory is not all zero. */
  private GuestMapping waitForRom(TestGuest guest, String what) throws IOException {
    GuestMapping mapping = RamMap.survey(guest.monitor, guest.pid());
    long deadline = System.nanoTime() + 20_000_000_000L;
    while (isZero(read(mapping, "pc.ram", 0xf0000, 0x10000))) {
      assertTrue(System.nanoTime() < deadline, what + " did not start");
    }
    return RamMap.survey(guest.monitor, guest.pid());
  }

  /** A block's bytes equal what QEMU itself shows at a guest-physical address. */
  private void assertShows(
      TestGuest guest, GuestMapping mapping, String block, long guestAddress, long offset)
      throws IOException {
    guest.monitor.command("stop", QmpSocket.arguments(), -1);
    Path dump = folder.resolve("dump");
    int bytes = 64 << 10;
    guest.monitor.command(
        "pmemsave",
        QmpSocket.arguments()
            .put("val", guestAddress)
            .put("size", bytes)
            .put("filename", dump.toString()),
        -1);
    assertArrayEquals(Files.readAllBytes(dump), read(mapping, block, offset, bytes), block);
    Files.delete(dump);
    guest.monitor.command("cont", QmpSocket.arguments(), -1);
  }

  /** An option ROM's block starts with its file, the PCI identity that QEMU patches in aside. */
  private void assertRom(GuestMapping mapping, String block, String file) throws IOException {
    byte[] rom =
        Files.readAllBytes(
            List.of("/usr/share/qemu", "/usr/lib/ipxe/qemu").stream()
                .map(f -> Path.of(f, file))
                .filter(Files::exists)
                .findFirst()
                .orElseThrow());
    byte[] held = read(mapping, block, 0, rom.length);
    int differing = 0;
    for (int i = 0; i < rom.length; i++) {
      differing += rom[i] == held[i] ? 0 : 1;
    }
    assertTrue(differing <= 8, differing + " bytes of " + block + " differ from " + file);
    assertFalse(isZero(held));
  }

  private static byte[] read(GuestMapping mapping, String block, long offset, int bytes)
      throws IOException {
    ByteBuffer content = ByteBuffer.allocate(bytes);
    int number = mapping.layout().blockNamed(block);
    assertTrue(number >= 0, "no block " + block + " in " + mapping.layout());
    try (FileChannel memory =
        FileChannel.open(Path.of("/proc/" + mapping.pid() + "/mem"), StandardOpenOption.READ)) {
      while (content.hasRemaining()) {
        long at = mapping.hostAddress()[number] + offset + content.position();
        assertTrue(memory.read(content, at) > 0);
      }
    }
    return content.array();
  }

  private static boolean isZero(byte[] bytes) {
    for (byte b : bytes) {
      if (b != 0) {
        return false;
      }
    }
    return true;
  }
}
