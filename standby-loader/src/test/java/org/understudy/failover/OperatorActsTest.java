package org.understudy.failover;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.understudy.standby.StandbySettings;
import org.understudy.standby.StandbyState;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.QemuGuest;
import org.understudy.testbed.QmpException;

/**
 * What an operator can do to an armed standby through its monitor, one act each. Either it leaves
 * no trace, and the standby promoted right after it is the committed image bit by bit, registers
 * and device state too; or that standby is refused, and the next one is.
 */
@Tag("qemu")
class OperatorActsTest {
  private static final String Q35 = "pc-q35-7.2";
  private static final PromotionSettings PAUSED =
      new PromotionSettings(false, 20_000, 20_000, 60_000);

  /** No look of the watch in between: the promotion itself has to see what was done. */
  private static final StandbySettings SELDOM =
      new StandbySettings(600_000, 10_000, 30_000, 128 << 10);

  private static QemuGuest primary;
  private static StoppedGuest image;
  private static byte[] undisturbed;
  private static BitSet varying;

  /** What becomes of the standby. */
  enum Fate {
    /** The act is refused by QEMU or done without a trace. */
    PROMOTED,
    /** The promotion ends before LISTEN. */
    NOT_LOADED,
    /** The promotion refuses it. */
    REFUSED
  }

  enum Act {
    NOTHING(Fate.PROMOTED, "query-status", "{}"),
    SCREENSHOT(Fate.PROMOTED, "screendump", "{'filename':'FILE'}"),
    MEMORY_SAVED(Fate.PROMOTED, "pmemsave", "{'val':0,'size':134217728,'filename':'FILE'}"),
    MEMORY_PRINTED(
        Fate.PROMOTED, "human-monitor-command", "{'command-line':'xp /4096xg 0x100000'}"),
    DUMP(Fate.PROMOTED, "dump-guest-memory", "{'protocol':'file:FILE','paging':false}"),
    SAVE(Fate.PROMOTED, "migrate", "{'uri':'exec:cat > FILE'}"),
    SUSPEND(Fate.PROMOTED, "stop", "{}"),
    POWER_BUTTON(Fate.PROMOTED, "system_powerdown", "{}"),
    SETMEM(Fate.PROMOTED, "balloon", "{'value':67108864}"),
    NMI(Fate.PROMOTED, "inject-nmi", "{}"),
    KEY(Fate.PROMOTED, "send-key", "{'keys':[{'type':'qcode','data':'ret'}]}"),
    /** What libvirt does after a dump or a save that QEMU refused. */
    CAPABILITY(
        Fate.NOT_LOADED,
        "migrate-set-capabilities",
        "{'capabilities':[{'capability':'postcopy-ram','state':false}]}"),
    RESUME(Fate.REFUSED, "cont", "{}"),
    RESET(Fate.REFUSED, "system_reset", "{}"),
    DESTROY(Fate.REFUSED, "quit", "{}");

    final Fate fate;
    final String command;
    private final String json;

    Act(Fate fate, String command, String json) {
      this.fate = fate;
      this.command = command;
      this.json = json;
    }

    /** What the command takes, writing to {@code file} where it writes. */
    Map<String, Object> arguments(Path file) throws IOException {
      return new ObjectMapper()
          .readValue(
              json.replace("FILE", file.toString()).replace('\'', '"'),
              new TypeReference<Map<String, Object>>() {});
    }
  }

  @BeforeAll
  static void stopPrimary() throws Exception {
    primary =
        QemuGuest.builder(GuestImages.proof())
            .memoryMib(128)
            .kernel("proof.size=16 proof.check=64")
            .vcpus(2)
            .vga()
            .balloon()
            .network()
            .directDisk(16)
            .extra("-rtc", "clock=vm") // one that stands still with the guest
            .start();
    primary.awaitReady();
    image = new StoppedGuest(primary);
    undisturbed = promotedDeviceState();
    byte[] again = promotedDeviceState();
    varying = new BitSet();
    for (int i = 0; i < undisturbed.length; i++) {
      varying.set(i, undisturbed[i] != again[i]);
    }
    System.out.println("bytes of " + undisturbed.length + " that vary by themselves: " + varying);
    assertTrue(varying.cardinality() < 32, varying.toString());
  }

  @AfterAll
  static void end() throws IOException {
    if (primary != null) {
      primary.close();
    }
  }

  private static byte[] promotedDeviceState() throws IOException {
    try (StandbyPair pair = pair()) {
      promote(pair);
      return deviceState(pair);
    }
  }

  private static StandbyPair pair() throws IOException {
    StandbyPair pair = new StandbyPair(primary, image, Q35, true, SELDOM);
    image.fastPages().clear();
    pair.place(image.choose(0.3, new SplittableRandom(4)));
    return pair;
  }

  private static PromotionReport promote(StandbyPair pair) throws IOException {
    return Promotion.promote(pair.standby, image, new int[0], PAUSED);
  }

  private static byte[] deviceState(StandbyPair pair) throws IOException {
    Path file = pair.qemu.folder().resolve("devices");
    pair.monitor.survey().saveDevicesState(file.toString());
    return Files.readAllBytes(file);
  }

  private static void assertIsTheImage(StandbyPair pair) throws IOException {
    PromotionReport report = promote(pair);
    assertInstanceOf(PromotionReport.Outcome.Completed.class, report.outcome());
    System.out.println("  strays " + report.pages().strays());
    assertEquals("none", image.difference(pair.mapping));
    assertEquals(image.registers, pair.qemu.qmp().hmp("info registers -a"));
    byte[] devices = deviceState(pair);
    varying.stream().forEach(at -> devices[at] = undisturbed[at]);
    assertArrayEquals(undisturbed, devices, "state of the devices");
    assertEquals("paused", pair.qemu.qmp().runState());
    assertNull(pair.qemu.serial().failure());
  }

  @ParameterizedTest
  @EnumSource(Act.class)
  void leavesNoTraceOrTheStandbyIsNeverPromoted(Act act) throws Exception {
    try (StandbyPair pair = pair()) {
      String answer = "done";
      try {
        pair.qemu.qmp().execute(act.command, act.arguments(pair.qemu.folder().resolve("act")));
      } catch (QmpException refused) {
        answer = refused.getMessage();
      }
      System.out.println(act + ": " + answer);
      if (act == Act.DESTROY) {
        assertTrue(pair.qemu.process().waitFor(10, TimeUnit.SECONDS), "QEMU ends");
      }
      if (act.fate == Fate.PROMOTED) {
        assertIsTheImage(pair);
        return;
      }
      if (act.fate == Fate.NOT_LOADED) {
        PromotionReport.Outcome outcome = promote(pair).outcome();
        System.out.println("  " + outcome);
        assertInstanceOf(PromotionReport.Outcome.Repeatable.class, outcome);
        assertTrue(outcome.toString().contains("somebody dumped"), outcome.toString());
      } else {
        IOException refused = assertThrows(IOException.class, () -> promote(pair));
        System.out.println("  " + refused.getMessage());
      }
      assertInstanceOf(StandbyState.Refused.class, pair.standby.state());
    }
    try (StandbyPair next = pair()) {
      assertIsTheImage(next);
    }
  }
}
