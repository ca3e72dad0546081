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
  /**
   * A region of memory in {@code info mtree}, or an alias of a part of one (QEMU,
   * softmmu/memory.c).
   */
  private static final Pattern REGION =
      Pattern.compile(
          "\\s+([0-9a-f]{16})-[0-9a-f]{16} \\(prio -?\\d+, (?:ram|rom|romd)\\): "
              + "(?:alias \\S+ @)?(\\S+)(?: ([0-9a-f]{16})-[0-9a-f]{16})?");

  private static final Pattern HOST_ADDRESS = Pattern.compile("\\((.*)\\) is (0x[0-9a-f]+)");

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
    List<ListedBlock> blocks = ListedBlock.parse(monitor.humanCommand("info ramblock"));
    ProcessMaps maps = ProcessMaps.of(pid);
    long[] addresses =
        blocks.stream().allMatch(b -> b.hostAddress() != 0)
            ? blocks.stream().mapToLong(ListedBlock::hostAddress).toArray()
            : new RamBlockRecords(pid, maps).addresses(blocks);
    checkMapped(blocks, addresses, maps, pid);
    checkAgainstGuestAddresses(monitor, blocks, addresses);
    return new GuestMapping(pid, layout(blocks), addresses);
  }

  /**
   * Whether the guest still has the blocks of {@code layout}. Devices plugged in or out add or
   * remove some, and firmware tables may grow at a reboot.
   */
  public static boolean unchanged(GuestMonitor monitor, GuestLayout layout) throws IOException {
    return layout(ListedBlock.parse(monitor.humanCommand("info ramblock"))).equals(layout);
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
   * <p>Where it should show is taken from the tree of regions, not from the flat view: printing
   * that one ({@code info mtree -f}) takes a reference of each address space's view and gives back
   * only one of each view, so devices of that moment could never be unplugged again.
   */
  private static void checkAgainstGuestAddresses(
      GuestMonitor monitor, List<ListedBlock> blocks, long[] addresses) throws IOException {
    boolean[] seen = new boolean[blocks.size()];
    boolean system = false;
    for (String line : monitor.humanCommand("info mtree").lines().toList()) {
      if (line.isBlank()) {
        system = false;
      }
      system |= line.equals("address-space: memory");
      Matcher region = REGION.matcher(line);
      if (!system || !region.lookingAt() || line.endsWith("[disabled]")) {
        continue;
      }
      int block = shown(blocks, region.group(2));
      if (block >= 0 && !seen[block]) {
        long offset = region.group(3) == null ? 0 : Long.parseUnsignedLong(region.group(3), 16);
        long expected = addresses[block] + offset;
        seen[block] = isSeen(monitor, blocks.get(block), expected, region);
      }
    }
    if (!seen[mainMemory(blocks)]) {
      throw new IOException(
          "the guest's address space does not show its largest RAM block, "
              + blocks.get(mainMemory(blocks)).name());
    }
  }

  /** Whether the region is to be seen where it begins; another one may lie over it. */
  private static boolean isSeen(
      GuestMonitor monitor, ListedBlock block, long expected, Matcher region) throws IOException {
    String answer = monitor.humanCommand("gpa2hva 0x" + region.group(1)).strip();
    Matcher host = HOST_ADDRESS.matcher(answer);
    if (!host.find() || !host.group(1).equals(region.group(2))) {
      return false;
    }
    if (Long.decode(host.group(2)) != expected) {
      throw new IOException(
          String.format(
              "RAM block %s should show at guest address 0x%s from 0x%x, but QEMU says: %s",
              block.name(), region.group(1), expected, answer));
    }
    return true;
  }

  /**
   * The block that a memory region shows, or -1 where that is not certain. A region bears the last
   * part of its block's name; two devices of one kind have regions of one name.
   */
  private static int shown(List<ListedBlock> blocks, String region) {
    int found = -1;
    for (int i = 0; i < blocks.size(); i++) {
      String name = blocks.get(i).name();
      if (name.equals(region) || name.endsWith("/" + region)) {
        if (found >= 0) {
          return -1;
        }
        found = i;
      }
    }
    return found;
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
