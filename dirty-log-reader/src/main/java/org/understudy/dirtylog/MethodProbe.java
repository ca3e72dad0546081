package org.understudy.dirtylog;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.understudy.linux.Errno;
import org.understudy.linux.ErrnoException;
import org.understudy.linux.OwnPage;
import org.understudy.linux.Pagemap;
import org.understudy.linux.Userfaultfd;

/**
 * Tries the kernel's interfaces on this process; the exception's message is one sentence why not.
 */
final class MethodProbe {
  private MethodProbe() {}

  static void pagemapScan() throws IOException {
    try (Pagemap pagemap = new Pagemap((int) ProcessHandle.current().pid())) {
      pagemap.probeScan();
    } catch (ErrnoException e) {
      if (e.errno() == Errno.ENOTTY || e.errno() == Errno.EINVAL) {
        throw new IOException(
            "kernel " + release() + " has no PAGEMAP_SCAN, which came with Linux 6.7", e);
      }
      throw e;
    }
    try {
      Userfaultfd.ofThisProcess().close();
    } catch (ErrnoException e) {
      if (e.errno() == Errno.ENOSYS) {
        throw new IOException("kernel " + release() + " was built without userfaultfd", e);
      }
      throw e;
    }
  }

  /** The bit must appear by a write and go by clearing; a kernel without it shows it never. */
  static void softDirty() throws IOException {
    int self = (int) ProcessHandle.current().pid();
    try (OwnPage page = new OwnPage();
        Pagemap pagemap = new Pagemap(self)) {
      page.write();
      SoftDirtyLog.clear(self);
      boolean afterClearing = softDirty(pagemap, page);
      page.write();
      boolean afterWriting = softDirty(pagemap, page);
      if (afterClearing || !afterWriting) {
        throw new IOException(
            "kernel %s has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY): after clearing %b, after a write %b"
                .formatted(release(), afterClearing, afterWriting));
      }
    }
  }

  private static boolean softDirty(Pagemap pagemap, OwnPage page) throws IOException {
    return (pagemap.entry(page.address()) & Pagemap.SOFT_DIRTY_BIT) != 0;
  }

  private static String release() throws IOException {
    return Files.readString(Path.of("/proc/sys/kernel/osrelease")).trim();
  }
}
