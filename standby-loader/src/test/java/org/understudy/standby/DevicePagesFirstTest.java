package org.understudy.standby;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.RamBlock;
import org.understudy.qemustream.Savevm;
import org.understudy.tier.RecencyFrequency;

class DevicePagesFirstTest {
  private static final int RAM_PAGES = 16384;
  private static final GuestLayout LAYOUT =
      new GuestLayout(
          List.of(new RamBlock("pc.rom", 131072), new RamBlock("pc.ram", (long) RAM_PAGES << 12)));

  private final ByteBuffer file = ByteBuffer.allocate(1 << 16);
  private int sections;

  DevicePagesFirstTest() {
    file.putInt(Savevm.QEMU_VM_FILE_MAGIC).putInt(Savevm.QEMU_VM_FILE_VERSION);
  }

  private void section(String name, byte[] payload) {
    byte[] text = name.getBytes(StandardCharsets.US_ASCII);
    file.put(Savevm.QEMU_VM_SECTION_FULL).putInt(++sections).put((byte) text.length).put(text);
    file.putInt(0).putInt(1).put(payload);
    Savevm.sectionFooter(file, sections);
  }

  private static byte[] number(int before, long value, int after) {
    return ByteBuffer.allocate(before + 8 + after).putLong(before, value).array();
  }

  private DevicePagesFirst policy() {
    file.put(Savevm.QEMU_VM_EOF);
    DevicePagesFirst policy = new DevicePagesFirst(LAYOUT, new RecencyFrequency(LAYOUT.pages()));
    policy.deviceState(Arrays.copyOf(file.array(), file.position()));
    return policy;
  }

  private static int page(long address) {
    return LAYOUT.pageAt(1, address);
  }

  @Test
  void ringsAndGenerationIdAndTheFirstMibComeBeforeTheHottestPage() {
    section("timer", number(0, 0x2000000L, 0));
    section("0000:00:02.0:00.0/virtio-net", number(7, 0x2345670L, 3));
    section("vmgenid", number(0, Long.reverseBytes(0x1fff028L), 0));
    DevicePagesFirst policy = policy();
    PageSet devices = policy.devicePages();
    assertTrue(devices.contains(page(0x2345670L)));
    assertTrue(devices.contains(page(0x1fff028L)));
    assertFalse(devices.contains(page(0x2000000L)), "a timer's number is no address");
    assertTrue(devices.contains(page(0)) && devices.contains(page(0xfffff)));
    PageSet hot = new PageSet(LAYOUT.pages());
    hot.add(page(0x3000000L));
    for (int epoch = 1; epoch < 50; epoch++) {
      policy.written(epoch, hot);
    }
    PageSet candidates = new PageSet(LAYOUT.pages());
    candidates.add(page(0x3000000L));
    candidates.add(page(0x2345670L));
    candidates.add(page(0x3800000L));
    int[] order = new int[3];
    assertEquals(3, policy.mostUrgent(candidates, order));
    assertEquals(
        List.of(page(0x2345670L), page(0x3000000L), page(0x3800000L)),
        Arrays.stream(order).boxed().toList());
    int[] few = new int[1];
    assertEquals(1, policy.mostUrgent(candidates, few));
    assertEquals(page(0x2345670L), few[0]);
  }

  @Test
  void aStateThatIsNoneLeavesTheFirstMib() {
    DevicePagesFirst policy = new DevicePagesFirst(LAYOUT, new RecencyFrequency(LAYOUT.pages()));
    policy.deviceState(new byte[100]);
    assertEquals(256, policy.devicePages().count());
  }

  @Test
  void noiseIsReadWithoutHarm() {
    long seed = System.nanoTime();
    SplittableRandom random = new SplittableRandom(seed);
    for (int round = 0; round < 300; round++) {
      file.position(8);
      sections = 0;
      for (int i = 0; i < 5; i++) {
        byte[] payload = new byte[random.nextInt(300)];
        random.nextBytes(payload);
        section(random.nextBoolean() ? "a/virtio-blk" : "vmgenid", payload);
      }
      for (int flips = random.nextInt(6); flips > 0; flips--) {
        file.put(random.nextInt(9, file.position()), (byte) random.nextInt());
      }
      int end = file.position();
      assertTrue(policy().devicePages().count() >= 256, "seed " + seed);
      file.position(end);
    }
  }
}
