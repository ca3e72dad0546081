package org.understudy.capture;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.RamBlock;

/**
 * The survey of a running QEMU's RAM: which blocks there are and where they lie in its process.
 * Works for every block, whatever the machine: main memory around the physical hole, video memory,
 * flash, option ROMs and ACPI tables.
 *
 * <p>Names and lengths are what {@code info ramblock} prints. Addresses are printed by newer QEMUs
 * and otherwise read from QEMU's own records ({@link RamBlockRecords}). Each address is then held
 * against two independent witnesses: the process's mappings must cover the block's whole length,
 * and wherever the guest's physical address space shows a block, {@code gpa2hva} must lead to the
 * same address. A block without a unique address is refused, never guessed.
 */
public final class RamMap {
  private static final Pattern FLAT_RANGE =
      Pattern.compile(
          "\\s*([0-9a-f]{16})-([0-9a-f]{16}) \\(prio -?\\d+, (?:ram|rom|romd)\\): "
              + "(\\S+)(?: @([0-9a-f]{16}))?(?: \\S+)?\\s*");
  private static final Pattern HOST_ADDRESS = Pattern.compile("is (0x[0-9a-f]+)");

  private static final int ATTEMPTS = 3;

  private RamMap() {}

  /**
   * Surveys a running QEMU.
   *
   * @param pid QEMU's process id
   * @throws IOException with a sentence, if a block cannot be located beyond doubt
   */
  public static GuestMapping survey(GuestMonitor monitor, int pid) throws IOException {
    // The guest may be moving its video memory just now, and QEMU's heap may shrink under the
    // reader: what does not fit together once is looked at again.
    for (int attempt = 1; attempt < ATTEMPTS; attempt++) {
      try {
        return surveyOnce(monitor, pid);
      } catch (IOException changing) {
        // The last attempt tells what is wrong.
      }
    }
    return surveyOnce(monitor, pid);
  }

  private static GuestMapping surveyOnce(GuestMonitor monitor, int pid) throws IOException {
    List<ListedBlock> all = ListedBlock.parse(monitor.humanCommand("info ramblock"));
    List<ListedBlock> blocks = named(all);
    ProcessMaps maps = ProcessMaps.of(pid);
    long[] addresses =
        blocks.stream().allMatch(b -> b.hostAddress() != 0)
            ? blocks.stream().mapToLong(ListedBlock::hostAddress).toArray()
            : new RamBlockRecords(pid, maps).addresses(blocks);
    checkMapped(blocks, addresses, maps, pid);
    boolean nameless = all.size() > blocks.size();
    checkAgainstGuestAddresses(monitor, blocks, addresses, nameless);
    return new GuestMapping(pid, layout(blocks), addresses);
  }

  /**
   * Whether the guest still has the blocks of {@code layout}. Devices plugged in or out add or
   * remove some, and firmware tables may grow at a reboot.
   */
  public static boolean unchanged(GuestMonitor monitor, GuestLayout layout) throws IOException {
    List<ListedBlock> all = ListedBlock.parse(monitor.humanCommand("info ramblock"));
    return layout(named(all)).equals(layout);
  }

  /**
   * QEMU keeps the memory of an unplugged device, without its name, as long as anything in it
   * refers to the device. The guest does not see it any more, and no migration carries it.
   */
  private static List<ListedBlock> named(List<ListedBlock> all) {
    return all.stream().filter(block -> !block.name().isEmpty()).toList();
  }

  private static GuestLayout layout(List<ListedBlock> blocks) {
    List<RamBlock> ram = new ArrayList<>();
    for (ListedBlock block : blocks) {
      ram.add(new RamBlock(block.name(), block.usedBytes()));
    }
    return new GuestLayout(ram);
  }

  private static void checkMapped(
      List<ListedBlock> blocks, long[] addresses, ProcessMaps maps, int pid) throws IOException {
    for (int i = 0; i < addresses.length; i++) {
      long end = addresses[i] + blocks.get(i).totalBytes();
      if (!maps.covers(addresses[i], blocks.get(i).totalBytes())) {
        throw new IOException(
            String.format(
                "RAM block %s of 0x%x bytes at 0x%x: process %d has not all of it mapped"
                    + " readable and writable",
                blocks.get(i).name(), blocks.get(i).totalBytes(), addresses[i], pid));
      }
      for (int j = 0; j < i; j++) {
        if (addresses[i] < addresses[j] + blocks.get(j).totalBytes() && addresses[j] < end) {
          throw new IOException(
              String.format(
                  "RAM blocks %s at 0x%x and %s at 0x%x overlap",
                  blocks.get(j).name(), addresses[j], blocks.get(i).name(), addresses[i]));
        }
      }
    }
  }

  /**
   * Asks {@code gpa2hva} once for each block that the guest's address space shows.
   *
   * @param nameless whether there is a block without a name: the guest must not see it
   */
  private static void checkAgainstGuestAddresses(
      GuestMonitor monitor, List<ListedBlock> blocks, long[] addresses, boolean nameless)
      throws IOException {
    boolean[] seen = new boolean[blocks.size()];
    boolean system = false;
    for (String line : monitor.humanCommand("info mtree -f").lines().toList()) {
      if (line.startsWith(" AS ")) {
        system |= line.startsWith(" AS \"memory\"");
      } else if (line.startsWith("FlatView")) {
        system = false;
      }
      Matcher range = FLAT_RANGE.matcher(line);
      if (!system || !range.matches()) {
        continue;
      }
      if (nameless && blocks.stream().noneMatch(b -> bears(b, range.group(3)))) {
        throw new IOException(
            "the guest sees memory of a device ("
                + range.group(3)
                + ") that no migration carries: it has no name; such a guest cannot be protected");
      }
      int block = shown(blocks, range.group(3));
      if (block < 0 || seen[block]) {
        continue;
      }
      seen[block] = true;
      long offset = range.group(4) == null ? 0 : Long.parseUnsignedLong(range.group(4), 16);
      checkOne(monitor, blocks.get(block), addresses[block] + offset, range.group(1));
    }
    if (!seen[mainMemory(blocks)]) {
      throw new IOException(
          "the guest's address space does not show its largest RAM block, "
              + blocks.get(mainMemory(blocks)).name());
    }
  }

  private static void checkOne(
      GuestMonitor monitor, ListedBlock block, long expected, String guestAddress)
      throws IOException {
    String answer = monitor.humanCommand("gpa2hva 0x" + guestAddress).strip();
    Matcher host = HOST_ADDRESS.matcher(answer);
    if (!host.find() || Long.decode(host.group(1)) != expected) {
      throw new IOException(
          String.format(
              "RAM block %s should show at guest address 0x%s from 0x%x, but QEMU says: %s",
              block.name(), guestAddress, expected, answer));
    }
  }

  /**
   * The block that a memory region shows, or -1 where that is not certain. A region bears the last
   * part of its block's name; two devices of one kind have regions of one name.
   */
  private static int shown(List<ListedBlock> blocks, String region) {
    int found = -1;
    for (int i = 0; i < blocks.size(); i++) {
      if (bears(blocks.get(i), region)) {
        if (found >= 0) {
          return -1;
        }
        found = i;
      }
    }
    return found;
  }

  private static boolean bears(ListedBlock block, String region) {
    return block.name().equals(region) || block.name().endsWith("/" + region);
  }

  private static int mainMemory(List<ListedBlock> blocks) {
    int largest = 0;
    for (int i = 1; i < blocks.size(); i++) {
      if (blocks.get(i).totalBytes() > blocks.get(largest).totalBytes()) {
        largest = i;
      }
    }
    return largest;
  }
}
