package org.understudy.daemon;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.RamBlock;
import org.understudy.libvirt.PrimaryDomain;

class EditionsTest {
  private static final UUID GUEST = UUID.fromString("c2177883-f1bb-47f0-914d-32a22e3a8804");
  private static final GuestLayout PLAIN = new GuestLayout(List.of(new RamBlock("pc.ram", 8192)));
  private static final GuestLayout MORE =
      new GuestLayout(List.of(new RamBlock("pc.ram", 8192), new RamBlock("net1.rom", 4096)));

  @TempDir Path folder;

  private static GuestOrder order(GuestLayout layout, String... devices) {
    PrimaryDomain primary =
        new PrimaryDomain(
            GUEST,
            "db",
            "7.2.22",
            "/usr/bin/qemu-system-x86_64",
            "x86_64",
            "pc-q35-7.2",
            "kvm",
            8192,
            "",
            "<domain/>",
            null,
            List.of(devices));
    return new GuestOrder(
        primary,
        1,
        new Ownership.Settings(1000, Budget.parse("25%"), false),
        layout,
        new UUID(1, 2),
        "00",
        false);
  }

  @Test
  void whatWasWrittenIsRead() throws Exception {
    Editions editions = new Editions(folder);
    assertEquals(List.of(), editions.of(GUEST));
    Edition first = Edition.first(order(PLAIN, "net0"));
    Edition second = first.next(order(PLAIN, "net0", "vcpu1")).opened(17);
    editions.write(GUEST, List.of(first, second));
    assertEquals(List.of(first, second), editions.of(GUEST));
    editions.forget(GUEST);
    assertEquals(List.of(), editions.of(GUEST));
  }

  @Test
  void theSameBlocksGoOnInTheSameImageFromItsLastEpochOn() {
    Edition second = Edition.first(order(PLAIN)).next(order(PLAIN, "vcpu1")).opened(17);
    assertEquals(GUEST.toString(), second.folder());
    assertEquals(17, second.afterEpoch());
    assertEquals(17, second.opened(20).afterEpoch(), "only the first opening counts");
  }

  @Test
  void otherBlocksGetAnImageOfTheirOwnAndTheOldOneStays() throws Exception {
    Editions editions = new Editions(folder);
    Edition first = Edition.first(order(PLAIN));
    Edition second = first.next(order(MORE)).opened(0);
    assertEquals(GUEST + ".2", second.folder());
    assertEquals(0, second.afterEpoch());
    Edition third = second.next(order(PLAIN)).opened(0);
    assertEquals(GUEST.toString(), third.folder());
    Files.createDirectories(editions.folder(first));
    Files.createDirectories(editions.folder(second));
    editions.write(GUEST, List.of(first, second));
    assertTrue(Files.exists(editions.folder(first)) && Files.exists(editions.folder(second)));
    editions.write(GUEST, List.of(second));
    assertFalse(Files.exists(editions.folder(first)));
    assertTrue(Files.exists(editions.folder(second)));
  }

  @Test
  void aGuestIsSuspendedAtOneEpochOnly() throws Exception {
    Editions editions = new Editions(folder);
    assertFalse(editions.isSuspendedAt(GUEST, 5));
    editions.suspended(GUEST, 5);
    assertTrue(editions.isSuspendedAt(GUEST, 5));
    assertFalse(editions.isSuspendedAt(GUEST, 6));
    editions.suspended(GUEST, 0);
    assertFalse(editions.isSuspendedAt(GUEST, 5));
  }
}
