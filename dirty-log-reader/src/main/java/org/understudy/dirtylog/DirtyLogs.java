package org.understudy.dirtylog;

import java.io.IOException;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.guest.GuestMapping;
import org.understudy.linux.PidFd;

/** The methods of learning what a guest wrote, in the order of preference. */
public final class DirtyLogs {
  /** PAGEMAP_SCAN over a userfaultfd injected into QEMU; Linux 6.7 and later. */
  public static final String PAGEMAP_SCAN = PagemapScanLog.METHOD;

  /** Soft-dirty bits; kernels with CONFIG_MEM_SOFT_DIRTY. */
  public static final String SOFT_DIRTY = SoftDirtyLog.METHOD;

  /** Comparison of page content; always works, reads all RAM. */
  public static final String COMPARE = CompareLog.METHOD;

  private static final Logger LOG = LoggerFactory.getLogger(DirtyLogs.class);

  /**
   * What this host offers.
   *
   * @param method name of the method
   * @param available whether it can be used here
   * @param reason one sentence: why not, or what it costs
   */
  public record Availability(String method, boolean available, String reason) {}

  private DirtyLogs() {}

  /** Tries each method on this process; best first. */
  public static List<Availability> probe() {
    return List.of(
        availability(
            PAGEMAP_SCAN, MethodProbe::pagemapScan, "a scan takes about 1 ms per GiB of guest RAM"),
        availability(
            SOFT_DIRTY,
            MethodProbe::softDirty,
            "a scan reads 2 MiB of page table entries per GiB of guest RAM"
                + (HugePageSplit.possible()
                    ? ""
                    : ", and a page written in a huge page costs 2 MiB: mount debugfs at"
                        + " /sys/kernel/debug, so that huge pages can be split")),
        new Availability(COMPARE, true, "every scan reads all of the guest's RAM"));
  }

  private interface Probe {
    void run() throws IOException;
  }

  private static Availability availability(String method, Probe probe, String cost) {
    try {
      probe.run();
      return new Availability(method, true, cost);
    } catch (IOException e) {
      return new Availability(method, false, e.getMessage());
    }
  }

  /**
   * Opens the best method that works here and on this process; each one passed over is logged with
   * its reason, and {@link DirtyLog#method} tells what it came to.
   *
   * @throws IOException the process does not exist
   */
  public static DirtyLog open(GuestMapping mapping) throws IOException {
    for (Availability each : probe()) {
      if (!each.available()) {
        LOG.info("dirty log {} is not available: {}", each.method(), each.reason());
        continue;
      }
      try {
        return open(mapping, each.method());
      } catch (IOException e) {
        try (PidFd process = new PidFd(mapping.pid())) {
          if (!process.isAlive() || each.method().equals(COMPARE)) {
            throw e;
          }
        }
        LOG.warn(
            "dirty log {} does not work on process {}: {}",
            each.method(),
            mapping.pid(),
            e.getMessage());
      }
    }
    throw new IllegalStateException("comparison is always available");
  }

  /**
   * Opens a method by name.
   *
   * @param method {@link #PAGEMAP_SCAN}, {@link #SOFT_DIRTY} or {@link #COMPARE}
   * @throws IOException it does not work here or on this process; the message says why
   */
  public static DirtyLog open(GuestMapping mapping, String method) throws IOException {
    return switch (method) {
      case PagemapScanLog.METHOD -> {
        PagemapScanLog log = new PagemapScanLog(mapping, new Injector(mapping.pid(), ""));
        LOG.info(
            "process {} was made to create and close a userfaultfd: a thread held for {} and {} us",
            mapping.pid(),
            log.stopsUs()[0],
            log.stopsUs()[1]);
        yield log;
      }
      case SoftDirtyLog.METHOD -> {
        MethodProbe.softDirty();
        yield new SoftDirtyLog(mapping);
      }
      case CompareLog.METHOD -> new CompareLog(mapping);
      default ->
          throw new IllegalArgumentException(
              "dirty log method "
                  + method
                  + ", expected one of "
                  + List.of(PAGEMAP_SCAN, SOFT_DIRTY, COMPARE));
    };
  }
}
