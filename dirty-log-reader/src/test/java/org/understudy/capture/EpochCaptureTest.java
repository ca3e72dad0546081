package org.understudy.capture;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.understudy.capture.CaptureOutcome.Committed;
import org.understudy.capture.CaptureOutcome.Discarded;
import org.understudy.capture.CaptureOutcome.Fault;
import org.understudy.capture.ConfigurationCheck.ConfigurationChanged;
import org.understudy.dirtylog.DirtyLogs;
import org.understudy.guest.GuestMapping;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.GuestImages.Qemu;

@Tag("qemu")
class EpochCaptureTest {
  private static final int WRITTEN = 300;

  @TempDir Path folder;
  private TestGuest guest;
  private GuestMapping mapping;
  private WitnessLog log;
  private ImageSink sink;
  private final LenientGuard guard = new LenientGuard();

  @BeforeAll
  static void needsQemu() {
    Assumptions.assumeTrue(Files.isExecutable(TestGuest.PROGRAM), "no " + TestGuest.PROGRAM);
  }

  private void start() throws IOException {
    start(GuestImages.defaultQemu());
  }

  private void start(Qemu qemu) throws IOException {
    guest =
        WritingGuest.start(
            qemu,
            folder,
            WRITTEN,
            0,
            "-machine",
            "pc",
            "-m",
            "32",
            "-vga",
            "std",
            "-smp",
            "2",
            "-device",
            "virtio-net-pci");
    mapping = RamMap.survey(guest.monitor, guest.pid());
    log = new WitnessLog(DirtyLogs.open(mapping), mapping);
    sink = new ImageSink(mapping.layout());
  }

  @AfterEach
  void end() {
    log.close();
    guest.close();
  }

  @ParameterizedTest
  @MethodSource("org.understudy.capture.TestGuest#qemus")
  void everyEpochEqualsMemoryAtItsPauseAndTheGuestGoesOn(Qemu qemu) throws IOException {
    start(qemu);
    try (EpochCapture capture = capture(CaptureSettings.ofSlab(64 << 20))) {
      List<String> before = guest.descriptors();
      int firstWord = 0;
      int lastWord = 0;
      for (long epoch = 1; epoch <= 50; epoch++) {
        Committed done = committed(capture.captureInto(sink, epoch));
        assertEquals(1, done.pauses().size());
        assertArrayEquals(log.seen, sink.committed);
        lastWord = assertOneInstant(lastWord);
        if (epoch == 1) {
          firstWord = lastWord;
          assertEquals(mapping.layout().pages(), done.pages());
          assertTrue(done.zeroPages() > 0);
        } else {
          assertTrue(done.pages() < 2 * WRITTEN, done.toString());
        }
        DeviceStateFile.check(ByteBuffer.wrap(sink.deviceState));
      }
      assertTrue(lastWord > firstWord + 10, firstWord + " to " + lastWord);
      assertEquals(50, sink.epochs.size());
      assertEquals(before, guest.descriptors());
      assertEquals("running", guest.monitor.status());
      assertEquals(50, guard.begun);
      assertEquals(50, guard.firstBytes);
      assertEquals(50, guard.asked);
    }
  }

  @Test
  void aConfinedQemuOfAnotherUserIsCapturedToo() throws IOException {
    Path setpriv = Path.of("/usr/bin/setpriv");
    Assumptions.assumeTrue(Files.isExecutable(setpriv), "no " + setpriv);
    Assumptions.assumeTrue(ProcessOwner.of((int) ProcessHandle.current().pid()).uid() == 0, "root");
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxrwxrwx"));
    start(
        new Qemu(
            setpriv,
            List.of(
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                TestGuest.PROGRAM.toString(),
                "-sandbox",
                "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")));
    assertEquals(new ProcessOwner(65534, 65534), ProcessOwner.of(guest.pid()));
    try (EpochCapture capture = capture(CaptureSettings.ofSlab(64 << 20))) {
      for (long epoch = 1; epoch <= 3; epoch++) {
        committed(capture.captureInto(sink, epoch));
        assertArrayEquals(log.seen, sink.committed);
      }
    }
  }

  @Test
  void pagesThatDoNotFitAreCopiedWhileTheGuestRunsAndReadAgain() throws IOException {
    start();
    try (EpochCapture capture = capture(CaptureSettings.ofSlab(512 * 4096))) {
      for (long epoch = 1; epoch <= 5; epoch++) {
        Committed done = committed(capture.captureInto(sink, epoch));
        assertEquals(epoch == 1 ? 2 : 1, done.pauses().size(), done.toString());
        assertArrayEquals(log.seen, sink.committed);
        assertOneInstant(0);
      }
    }
  }

  @Test
  void aGuestThatWritesTooFastIsReportedAndLosesNothing() throws IOException {
    start();
    CaptureSettings narrow = new CaptureSettings(128 * 4096, 128, 3, 16 << 20, 30_000, 2_000);
    try (EpochCapture capture = capture(narrow)) {
      Discarded failed = discarded(capture.captureInto(sink, 1));
      assertEquals(Fault.NOT_CONVERGING, failed.fault());
      assertEquals("running", failed.status());
      assertEquals(3, failed.pauses().size());
      assertEquals(1, sink.discarded);
    }
  }

  @Test
  void aBrokenSinkLeavesItsPagesMarked() throws IOException {
    start();
    try (EpochCapture capture = capture(CaptureSettings.ofSlab(64 << 20))) {
      committed(capture.captureInto(sink, 1));
      sink.broken = true;
      Discarded failed = discarded(capture.captureInto(sink, 2));
      assertEquals(Fault.SINK, failed.fault());
      assertEquals("running", failed.status());
      assertEquals(1, sink.discarded);
      // Stopped, so that nothing of epoch 2 would be written again by chance.
      guest.monitor.command("stop", QmpSocket.arguments(), -1);
      assertTrue(capture.pendingPages() >= WRITTEN);
      sink.broken = false;
      Committed done = committed(capture.captureInto(sink, 2));
      assertTrue(done.pages() >= WRITTEN);
      assertArrayEquals(log.seen, sink.committed);
      assertEquals("paused", guest.monitor.status(), "a guest stopped by others stays stopped");
    }
  }

  @Test
  void nothingIsPausedWithoutAGuardAndALatePauseIsDiscarded() throws IOException {
    start();
    try (EpochCapture capture = capture(CaptureSettings.ofSlab(64 << 20))) {
      List<String> before = guest.descriptors();
      guard.gone = true;
      Discarded failed = discarded(capture.captureInto(sink, 1));
      assertEquals(Fault.NO_GUARD, failed.fault());
      assertEquals(0, failed.pauses().size());
      assertEquals(before, guest.descriptors());
      guard.gone = false;
      guard.inTime = false;
      failed = discarded(capture.captureInto(sink, 1));
      assertEquals(Fault.DEADLINE, failed.fault());
      assertEquals("running", failed.status());
      guard.inTime = true;
      committed(capture.captureInto(sink, 1));
      assertArrayEquals(log.seen, sink.committed);
    }
  }

  @Test
  void aDeviceStateBeyondTheLimitIsRefusedAndTheGuestGoesOn() throws IOException {
    start();
    CaptureSettings tiny = new CaptureSettings(64 << 20, 16384, 8, 8192, 30_000, 2_000);
    try (EpochCapture capture = capture(tiny)) {
      List<String> before = guest.descriptors();
      for (int i = 0; i < 5; i++) {
        Discarded failed = discarded(capture.captureInto(sink, 1));
        assertEquals(Fault.QEMU, failed.fault());
        assertEquals("running", failed.status(), failed.toString());
      }
      assertEquals(before, guest.descriptors());
    }
  }

  @Test
  void aFaultInsideThePauseLetsTheGuestGoOn() throws IOException {
    start();
    try (EpochCapture capture = capture(CaptureSettings.ofSlab(64 << 20))) {
      committed(capture.captureInto(sink, 1));
      List<String> before = guest.descriptors();
      log.inPause =
          () -> {
            throw new java.util.concurrent.CancellationException(
                "as if the host were out of memory");
          };
      org.junit.jupiter.api.Assertions.assertThrows(
          java.util.concurrent.CancellationException.class, () -> capture.captureInto(sink, 2));
      assertEquals("running", guest.monitor.status());
      assertEquals(before, guest.descriptors());
      log.inPause = () -> {};
      committed(capture.captureInto(sink, 2));
      assertArrayEquals(log.seen, sink.committed);
    }
  }

  @Test
  void aPluggedDeviceEndsTheLayout() throws IOException {
    start();
    try (EpochCapture capture = capture(CaptureSettings.ofSlab(64 << 20))) {
      committed(capture.captureInto(sink, 1));
      guest.monitor.humanCommand("device_add virtio-net-pci,id=plugged");
      Discarded failed = discarded(capture.captureInto(sink, 2));
      assertEquals(Fault.LAYOUT_CHANGED, failed.fault());
      assertEquals("running", failed.status());
    }
  }

  @Test
  void anEpochOfOtherDevicesIsDiscardedAndLosesNothing() throws IOException {
    start();
    String[] changed = {null};
    ConfigurationCheck check =
        () -> {
          if (changed[0] != null) {
            throw new ConfigurationChanged(changed[0]);
          }
        };
    try (EpochCapture capture =
        new EpochCapture(
            guest.monitor, mapping, log, guard, check, CaptureSettings.ofSlab(64 << 20))) {
      committed(capture.captureInto(sink, 1));
      changed[0] = "net1 plugged in";
      Discarded failed = discarded(capture.captureInto(sink, 2));
      assertEquals(Fault.CONFIGURATION_CHANGED, failed.fault());
      assertEquals("net1 plugged in", failed.reason());
      assertEquals("running", failed.status());
      assertEquals(List.of(1L), sink.epochs);
      guest.monitor.command("stop", QmpSocket.arguments(), -1);
      changed[0] = null;
      Committed done = committed(capture.captureInto(sink, 2));
      assertTrue(done.pages() >= WRITTEN, done.toString());
      assertArrayEquals(log.seen, sink.committed);
    }
  }

  @Test
  void aQemuThatEndsIsReported() throws IOException {
    start();
    try (EpochCapture capture = capture(CaptureSettings.ofSlab(64 << 20))) {
      committed(capture.captureInto(sink, 1));
      log.inPause =
          () -> {
            guest.process.destroyForcibly();
            guest.process.onExit().join();
          };
      log.witness = false;
      Discarded failed = discarded(capture.captureInto(sink, 2));
      assertTrue(failed.status().startsWith("unknown: "), failed.status());
    }
  }

  private Committed committed(CaptureOutcome outcome) throws IOException {
    return assertInstanceOf(Committed.class, outcome, () -> outcome + "; QEMU: " + guest.output());
  }

  private static Discarded discarded(CaptureOutcome outcome) {
    return assertInstanceOf(Discarded.class, outcome, outcome.toString());
  }

  private EpochCapture capture(CaptureSettings settings) throws IOException {
    return new EpochCapture(guest.monitor, mapping, log, guard, settings);
  }

  /** The guest's words fall by at most one, and are not older than before. */
  private int assertOneInstant(int before) {
    ByteBuffer ram = ByteBuffer.wrap(sink.committed).order(ByteOrder.LITTLE_ENDIAN);
    int first = WritingGuest.word(ram, 0);
    int previous = first;
    for (int page = 1; page < WRITTEN; page++) {
      int word = WritingGuest.word(ram, page);
      assertTrue(word == previous || word == previous - 1, "page " + page + ": torn");
      previous = word;
    }
    assertTrue(first - previous <= 1, "from " + first + " to " + previous + ": torn");
    assertTrue(first >= before, "word 0 was " + before + " and is " + first);
    return first;
  }
}
