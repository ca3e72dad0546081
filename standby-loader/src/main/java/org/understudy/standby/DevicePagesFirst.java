package org.understudy.standby;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.qemustream.DeviceAddresses;
import org.understudy.qemustream.Savevm;
import org.understudy.tier.PlacementPolicy;

/**
 * Another policy, with the pages before it that QEMU touches while it loads the devices: the guest
 * cannot run before they are there, and no log of writes knows an idle queue. They are the first
 * MiB and what the newest device state names.
 */
public final class DevicePagesFirst implements PlacementPolicy {
  private static final long GIB = 1L << 30;
  private static final long FOUR_GIB = 4 * GIB;
  private static final long FIRST_MIB = 1L << 20;

  /** Where the RAM below 4 GiB ends, in halves of GiB: which one depends on the machine type. */
  private static final int[] LOW_HALF_GIBS = {4, 6, 7};

  private static final int MOST_PAGES = 4096;

  private final GuestLayout layout;
  private final PlacementPolicy rest;
  private final int ram;
  private final PageSet devices;
  private final PageSet others;
  private int[] tail = {};
  private byte[] latest = {};

  /** For a guest of this layout, whose largest block is its RAM. */
  public DevicePagesFirst(GuestLayout layout, PlacementPolicy rest) {
    this.layout = layout;
    this.rest = rest;
    int largest = 0;
    for (int block = 1; block < layout.blocks().size(); block++) {
      if (layout.blocks().get(block).bytes() > layout.blocks().get(largest).bytes()) {
        largest = block;
      }
    }
    ram = largest;
    devices = new PageSet(layout.pages());
    others = new PageSet(layout.pages());
    addFirstMib();
  }

  /** The pages that come first, for status and tests; of the caller. */
  public PageSet devicePages() {
    PageSet copy = new PageSet(layout.pages());
    copy.set(devices);
    return copy;
  }

  @Override
  public void written(long epoch, PageSet pages) {
    rest.written(epoch, pages);
  }

  @Override
  public void deviceState(byte[] file) {
    if (Arrays.equals(file, latest)) {
      return;
    }
    latest = file;
    devices.clear();
    addFirstMib();
    try {
      long top = layout.blocks().get(ram).bytes();
      DeviceAddresses.find(
          Savevm.deviceSections(ByteBuffer.wrap(file)), top + FOUR_GIB, this::addAddress);
    } catch (IOException e) {
      // Not a device state: a promotion will say so. Nothing is known of the devices.
    }
  }

  private void addFirstMib() {
    for (long offset = 0; offset < FIRST_MIB; offset += Pages.SIZE) {
      addOffset(offset);
    }
  }

  private void addAddress(long address) {
    if (devices.count() >= MOST_PAGES) {
      return;
    }
    if (address < FOUR_GIB) {
      addOffset(address);
    } else {
      for (int low : LOW_HALF_GIBS) {
        addOffset(address - FOUR_GIB + low * GIB / 2);
      }
    }
  }

  private void addOffset(long offset) {
    if (offset < layout.blocks().get(ram).bytes()) {
      devices.add(layout.pageAt(ram, offset));
    }
  }

  @Override
  public int mostUrgent(PageSet candidates, int[] into) {
    int first = 0;
    for (int page = devices.next(0);
        page >= 0 && first < into.length;
        page = devices.next(page + 1)) {
      if (candidates.contains(page)) {
        into[first++] = page;
      }
    }
    others.set(candidates);
    others.removeAll(devices);
    if (tail.length != into.length - first) {
      tail = new int[into.length - first];
    }
    int more = rest.mostUrgent(others, tail);
    System.arraycopy(tail, 0, into, first, more);
    return first + more;
  }

  @Override
  public String name() {
    return "DEVICES+" + rest.name();
  }
}
