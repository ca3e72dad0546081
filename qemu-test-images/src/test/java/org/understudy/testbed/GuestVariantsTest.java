package org.understudy.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The guests boot and prove themselves on the machines that the product has to know. */
@Tag("qemu")
class GuestVariantsTest {
  private static final Duration BOOT = Duration.ofMinutes(3);

  private static QemuGuest.Builder proof() {
    return QemuGuest.builder(GuestImages.proof()).kernel("proof.size=16 proof.check=32");
  }

  @Test
  void uefiWithVgaAndFourProcessors() throws Exception {
    assumeTrue(Files.exists(Path.of("/usr/share/OVMF/OVMF_CODE_4M.fd")), "no package ovmf");
    try (QemuGuest guest =
        proof().memoryMib(512).uefi().vga().vcpus(4).network().balloon().directDisk(16).start()) {
      proves("UEFI, VGA, 4 processors", guest);
      String blocks = guest.qmp().hmp("info ramblock");
      assertTrue(blocks.contains("flash") && blocks.contains("vga.vram"), blocks);
    }
  }

  @Test
  void theOldPcMachine() throws Exception {
    try (QemuGuest guest = proof().machine("pc-i440fx-7.2").network().start()) {
      proves("pc-i440fx-7.2", guest);
    }
  }

  @Test
  void memoryAboveTheHoleBelowFourGib() throws Exception {
    try (QemuGuest guest = proof().memoryMib(5120).kernel("proof.size=32").start()) {
      proves("5 GiB", guest);
      assertEquals(
          5120L << 20,
          guest.qmp().execute("query-memory-size-summary").path("base-memory").asLong());
    }
  }

  @Test
  void qemuOfTheBackports() throws Exception {
    GuestImages.Found<GuestImages.Qemu> qemu10 = GuestImages.qemu10();
    assumeTrue(qemu10.present(), qemu10.reason());
    try (QemuGuest guest =
        proof().qemu(qemu10.value()).machine("pc-q35-10.0").vga().network().balloon().start()) {
      assertEquals(10, guest.qmp().greeting().at("/version/qemu/major").asInt());
      proves("QEMU 10.0", guest);
    }
  }

  @Test
  void redisUnderItsLoad() throws Exception {
    QemuGuest.Builder builder =
        QemuGuest.builder(GuestImages.redis()).memoryMib(512).kernel("redis.size=40 redis.scan=5");
    try (QemuGuest guest = builder.network().directDisk(16).start()) {
      proves("redis of 40 MiB", guest);
      guest.serial().await("redis last=\\d+ ok keys=10485 ops/s=[1-9]", Duration.ofSeconds(30));
    }
  }

  @Test
  void aFailingProgramIsNoticed() throws Exception {
    try (QemuGuest guest = proof().kernel("proof.touch=0").start()) {
      guest.serial().await("PROOF FAILED bad command line", Duration.ofMinutes(2));
    }
  }

  private static void proves(String what, QemuGuest guest) throws Exception {
    long started = System.nanoTime();
    guest.serial().await("(proof|redis) ready", BOOT);
    System.out.printf("%s: ready after %d ms%n", what, (System.nanoTime() - started) / 1_000_000);
    guest.serial().awaitPasses(2, BOOT);
  }
}
