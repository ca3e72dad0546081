package org.understudy.failover;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.understudy.guest.PageSet;
import org.understudy.standby.DevicePagesFirst;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.QemuGuest;

/** QEMU does not wait for pages while it loads the devices of a guest with busy virtio queues. */
@Tag("qemu")
class DeviceLoadTest {
  private static final PromotionSettings PAUSED =
      new PromotionSettings(false, 20_000, 20_000, 60_000);
  private static final int RUNS = Integer.getInteger("understudy.runs", 2);

  @ParameterizedTest
  @ValueSource(strings = {"pc-q35-7.2", "pc-i440fx-7.2"})
  void pagesThatLoadingTheDevicesTouchesAreThereBefore(String machine) throws Exception {
    QemuGuest.Builder builder =
        QemuGuest.builder(GuestImages.proof())
            .memoryMib(256)
            .vcpus(2)
            .machine(machine)
            .kernel("proof.size=32 proof.check=32 net=1 io=direct io.rate=0 io.depth=8")
            .network()
            .balloon()
            .directDisk(16);
    try (QemuGuest primary = builder.start().awaitReady()) {
      StoppedGuest image = new StoppedGuest(primary);
      DevicePagesFirst policy = new DevicePagesFirst(image.layout(), new AddressOrder());
      policy.deviceState(image.deviceState().array());
      PageSet devices = policy.devicePages();
      PageSet first = policy.devicePages();
      first.retainAll(image.nonZero);
      PageSet none = new PageSet(first.capacity());
      PromotionReport lazy = promote(primary, image, machine, none, none);
      PromotionReport ready = promote(primary, image, machine, first, devices);
      System.out.printf(
          "## %s: %d pages first; asked for while the devices were loaded: from nothing %s (%d zero), with"
              + " them %s; loaded after ms %s, with them %s%n",
          machine,
          first.count(),
          lazy.wantedLoading(),
          zeros(image, lazy.wantedLoading()),
          ready.wantedLoading(),
          loaded(lazy),
          loaded(ready));
      assertTrue(lazy.wantedLoading().count() >= 6, "queues of network, disk and balloon");
      assertEquals("", names(image, ready.wantedLoading()), "pages that were not there");
    }
  }

  private static PromotionReport promote(
      QemuGuest primary, StoppedGuest image, String machine, PageSet resident, PageSet devices)
      throws Exception {
    List<PromotionReport> reports = new ArrayList<>();
    for (int run = 0; run < RUNS; run++) {
      image.fastPages().clear();
      try (StandbyPair pair = new StandbyPair(primary, image, machine, true)) {
        pair.place(resident);
        PromotionReport report =
            Promotion.promote(pair.standby, image, devices, new int[0], PAUSED);
        assertInstanceOf(PromotionReport.Outcome.Completed.class, report.outcome());
        assertEquals("none", image.difference(pair.mapping));
        reports.add(report);
      }
    }
    reports.sort((one, two) -> Double.compare(loaded(one), loaded(two)));
    return reports.get(0);
  }

  private static double loaded(PromotionReport report) {
    return Math.round(10 * (report.loadedMs() - report.preparedMs())) / 10.0;
  }

  private static int zeros(StoppedGuest image, PageSet pages) {
    int zeros = 0;
    for (int page = pages.next(0); page >= 0; page = pages.next(page + 1)) {
      zeros += image.isZero(page) ? 1 : 0;
    }
    return zeros;
  }

  private static String names(StoppedGuest image, PageSet pages) {
    StringBuilder text = new StringBuilder();
    for (int page = pages.next(0); page >= 0; page = pages.next(page + 1)) {
      text.append(image.layout().blocks().get(image.layout().blockOf(page)).name())
          .append(String.format(" 0x%x ", image.layout().offsetOf(page)));
    }
    return text.toString().strip();
  }
}
