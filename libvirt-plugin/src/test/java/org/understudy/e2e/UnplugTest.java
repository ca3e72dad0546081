package org.understudy.e2e;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.understudy.capture.RamMap;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.QemuGuest;

/** What is asked of QEMU about its memory keeps no device from being unplugged later. */
@Tag("qemu")
class UnplugTest {
  @Test
  void aDeviceThatWasThereAtTheSurveyCanBeUnplugged() throws Exception {
    try (QemuGuest guest =
        QemuGuest.builder(GuestImages.proof())
            .machine("pc-i440fx-7.2") // its guests need no port for hot-plug
            .kernel("proof.size=16")
            .extra("-device", "virtio-rng-pci,id=rng1")
            .start()) {
      guest.awaitReady();
      try (DescriptorMonitor monitor = new DescriptorMonitor(guest.qmpSocket2())) {
        RamMap.survey(monitor, guest.pid());
        RamMap.survey(monitor, guest.pid());
      }
      guest.qmp().execute("device_del", Map.of("id", "rng1"));
      assertTrue(isDeleted(guest, "rng1"), "QEMU has not let go of rng1 within 30 s");
    }
  }

  private static boolean isDeleted(QemuGuest guest, String device) throws Exception {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (System.nanoTime() < end) {
      JsonNode event = guest.qmp().events().poll(1, TimeUnit.SECONDS);
      if (event != null
          && event.path("event").asText().equals("DEVICE_DELETED")
          && event.path("data").path("device").asText().equals(device)) {
        return true;
      }
    }
    return false;
  }
}
