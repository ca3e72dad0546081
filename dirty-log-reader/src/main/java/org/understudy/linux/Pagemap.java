package org.understudy.linux;

import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * /proc/PID/pagemap: what the page tables of a process say about its pages. One thread at a time;
 * the descriptor keeps to the address space the process had when it was opened, and of a process
 * that has ended it says nothing, without an error.
 */
public final class Pagemap implements AutoCloseable {
  /** PAGE_IS_WRITTEN: not write-protected by the range's userfaultfd. */
  public static final int WRITTEN = 1 << 1;

  /** PAGE_IS_PRESENT: mapped to memory. */
  public static final int PRESENT = 1 << 3;

  /** PAGE_IS_SWAPPED: content is in swap space. */
  public static final int SWAPPED = 1 << 4;

  /** Bit 55 of an entry read: written since the soft-dirty bits were cleared. */
  public static final long SOFT_DIRTY_BIT = 1L << 55;

  /** Receives the regions of a scan. */
  public interface Regions {
    /** Pages from address {@code start} to before {@code end} have {@code categories}. */
    void add(long start, long end, int categories);
  }

  private static final int REGION_BYTES = 24;
  private static final int REGIONS = 1 << 16;
  private static final long PAGEMAP_SCAN = 0xc0606610L;
  private static final int ARGUMENT_BYTES = 96;
  private static final int PM_SCAN_WP_MATCHING = 1;
  private static final int PM_SCAN_CHECK_WPASYNC = 2;
  private static final int AT_FDCWD = -100;
  private static final int O_CLOEXEC = 0x80000;

  private final int pid;
  private final ByteBuffer argument = Kernel.allocate(ARGUMENT_BYTES);
  private final long argumentAddress = Kernel.addressOf(argument);
  private ByteBuffer regions;
  private int fd;

  /** The page tables of process {@code pid}. */
  public Pagemap(int pid) throws IOException {
    this.pid = pid;
    byte[] path = ("/proc/" + pid + "/pagemap\0").getBytes(StandardCharsets.US_ASCII);
    ByteBuffer direct = Kernel.allocate(path.length).put(path);
    fd =
        (int)
            ErrnoException.check(
                Kernel.call(Kernel.OPENAT, AT_FDCWD, Kernel.addressOf(direct), O_CLOEXEC),
                "opening /proc/" + pid + "/pagemap");
  }

  /**
   * Finds the pages from {@code start} to before {@code end} that are in any of {@code categories},
   * all under asynchronous write protection (PAGEMAP_SCAN, Linux 6.7).
   *
   * @param protect also write-protects each written page found, in one atomic step a page
   * @throws ErrnoException EPERM: memory in the range has no such protection; ENOTTY: the kernel is
   *     older
   */
  public void scan(long start, long end, int categories, boolean protect, Regions found)
      throws IOException {
    int flags = PM_SCAN_CHECK_WPASYNC | (protect ? PM_SCAN_WP_MATCHING : 0);
    scan(start, end, flags, categories, found);
  }

  /**
   * Finds the pages from {@code start} to before {@code end} that are in any of {@code categories},
   * protected or not, and changes nothing (PAGEMAP_SCAN, Linux 6.7).
   *
   * @throws ErrnoException ENOTTY: the kernel is older
   */
  public void find(long start, long end, int categories, Regions found) throws IOException {
    scan(start, end, 0, categories, found);
  }

  /** Whether the kernel knows PAGEMAP_SCAN: asks for an empty range. */
  public void probeScan() throws IOException {
    scan(0, 4096, 0, PRESENT, (from, to, categories) -> {});
  }

  private void scan(long start, long end, int flags, int categories, Regions found)
      throws IOException {
    if (regions == null) {
      regions = Kernel.allocate(REGIONS * REGION_BYTES);
    }
    // struct pm_scan_arg: size, flags, start, end, walk_end, vec, vec_len, max_pages,
    // category_inverted, category_mask, category_anyof_mask, return_mask.
    argument.putLong(0, ARGUMENT_BYTES).putLong(8, flags).putLong(24, end);
    argument.putLong(40, Kernel.addressOf(regions)).putLong(48, REGIONS).putLong(56, 0);
    argument.putLong(64, 0).putLong(72, 0).putLong(80, categories).putLong(88, categories);
    for (long at = start; at < end; ) {
      argument.putLong(16, at).putLong(32, 0);
      long count = Kernel.call(Kernel.IOCTL, fd, PAGEMAP_SCAN, argumentAddress);
      if (count < 0) {
        throw new ErrnoException(
            "scanning 0x%x to 0x%x of process %d".formatted(at, end, pid), (int) -count);
      }
      for (int i = 0; i < count; i++) {
        int region = i * REGION_BYTES;
        found.add(
            regions.getLong(region),
            regions.getLong(region + 8),
            (int) regions.getLong(region + 16));
      }
      long walked = argument.getLong(32);
      if (walked <= at) {
        throw new IOException(
            "scanning 0x%x to 0x%x of process %d stopped at 0x%x".formatted(at, end, pid, walked));
      }
      at = walked;
    }
  }

  /**
   * Reads the 64-bit entries of consecutive pages (Documentation/admin-guide/mm/pagemap.rst).
   *
   * @param page address of the first page divided by 4096
   * @param entries direct buffer, filled from its position to its limit
   */
  public void read(long page, ByteBuffer entries) throws IOException {
    long address = Kernel.addressOf(entries);
    long offset = page * 8;
    try {
      while (entries.hasRemaining()) {
        long count =
            Kernel.call(
                Kernel.PREAD64, fd, address + entries.position(), entries.remaining(), offset);
        ErrnoException.check(count, "reading /proc/" + pid + "/pagemap");
        if (count == 0) {
          throw new IOException("process " + pid + " has ended: its pagemap is empty");
        }
        entries.position(entries.position() + (int) count);
        offset += count;
      }
    } finally {
      Reference.reachabilityFence(entries);
    }
  }

  /** The 64-bit entry of the page at {@code address}. */
  public long entry(long address) throws IOException {
    ByteBuffer entry = Kernel.allocate(8);
    read(address >> 12, entry);
    return entry.getLong(0);
  }

  @Override
  public void close() {
    if (fd >= 0) {
      Kernel.close(fd);
      fd = -1;
    }
  }
}
