package org.understudy.guest;

/**
 * Where a running guest's RAM blocks lie in the address space of its QEMU process.
 *
 * @param pid process id of QEMU
 * @param layout the RAM blocks
 * @param hostAddress by block number: the address of the block's first byte in process {@code pid},
 *     page-aligned
 */
@SuppressWarnings("ArrayRecordComponent") // read by block number on the page path
public record GuestMapping(int pid, GuestLayout layout, long[] hostAddress) {
  /** Checks that there is one aligned address for each block. */
  public GuestMapping {
    if (hostAddress.length != layout.blocks().size()) {
      throw new IllegalArgumentException(
          hostAddress.length + " addresses for " + layout.blocks().size() + " RAM blocks");
    }
    for (long address : hostAddress) {
      if (address == 0 || address % Pages.SIZE != 0) {
        throw new IllegalArgumentException("RAM block at address 0x" + Long.toHexString(address));
      }
    }
  }

  /** Address in process {@link #pid} of page number {@code page}. */
  public long addressOf(int page) {
    return hostAddress[layout.blockOf(page)] + layout.offsetOf(page);
  }
}
