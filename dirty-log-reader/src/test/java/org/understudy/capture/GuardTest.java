package org.understudy.capture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.capture.CaptureOutcome.Committed;
import org.understudy.guard.GuardClient;
import org.understudy.guard.GuardListener;
import org.understudy.guard.GuardSettings;
import org.understudy.guard.GuardWord;
import org.understudy.guard.GuestState;
import org.understudy.guard.ProcessIdentity;
import org.understudy.guest.GuestMapping;
import org.understudy.linux.PidFd;

@Tag("qemu")
@Timeout(120)
class GuardTest {
  private static final int WRITTEN = 100;
  private static final long DEADLINE_MS = 500;
  private static final long GRACE_MS = 700;

  /** What a loaded machine may add before we call a guest not resumed. */
  private static final long SLACK_MS = 1_500;

  @TempDir Path folder;
  private TestGuest guest;
  private GuestMapping mapping;
  private GuardListener standby;
  private GuardSettings settings;
  private ProcessHandle guardProcess;
  private Process daemon;
  private long deadlineMs = DEADLINE_MS;
  private BufferedReader says;

  @BeforeAll
  static void needsQemu() {
    Assumptions.assumeTrue(Files.isExecutable(TestGuest.PROGRAM), "no " + TestGuest.PROGRAM);
  }

  private void begin(String... arguments) throws IOException {
    guest = WritingGuest.start(folder, WRITTEN, 1000, arguments);
    mapping = RamMap.survey(guest.monitor, guest.pid());
    settings = settings(List.of("/bin/echo", "shut off (crashed)"));
    standby.expect(settings.session(), settings.keyBytes());
    try (GuardClient client = start(settings)) {
      assertEquals(GuestState.ALIVE, client.account().guest());
    }
  }

  @BeforeEach
  void listen() throws IOException {
    standby = new GuardListener(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
  }

  @AfterEach
  void end() throws Exception {
    if (daemon != null) {
      daemon.destroyForcibly();
      daemon.onExit().join();
    }
    if (guardProcess != null) {
      guardProcess.destroyForcibly();
      guardProcess.onExit().join();
    }
    standby.close();
    if (guest != null) {
      guest.close();
    }
  }

  @Test
  void aDaemonThatWorksIsLeftInPeace() throws Exception {
    begin("-machine", "pc", "-m", "16");
    daemon("never");
    assertTrue(says.readLine().startsWith("Committed["));
    assertTrue(daemon.waitFor(10, TimeUnit.SECONDS));
    assertAccount(0, 0);
  }

  @Test
  void aDaemonKilledInsideThePauseLetsTheGuestGoOn() throws Exception {
    begin("-machine", "pc", "-m", "16");
    daemon("paused");
    assertEquals("PAUSED", says.readLine());
    assertStandsStill();
    daemon.destroyForcibly();
    assertGoesOnWithin(DEADLINE_MS);
    assertWord(GuestState.ALIVE, false);
    assertAccount(0, 0);
  }

  @Test
  void aDaemonStoppedInsideThePauseIsKilledAndTheGuestGoesOn() throws Exception {
    begin("-machine", "pc", "-m", "16");
    daemon("paused");
    assertEquals("PAUSED", says.readLine());
    assertStandsStill();
    signal(daemon.pid(), PidFd.SIGSTOP);
    assertWord(GuestState.ALIVE, true);
    assertGoesOnWithin(DEADLINE_MS);
    assertTrue(daemon.waitFor(GRACE_MS + SLACK_MS, TimeUnit.MILLISECONDS), "daemon not killed");
    assertEquals(128 + 9, daemon.exitValue());
    assertTrue(guest.process.isAlive());
    assertWord(GuestState.ALIVE, false);
    assertAccount(1, 1);
  }

  @Test
  void aDaemonKilledBeforeQemuOpensThePipeLetsTheGuestGoOn() throws Exception {
    begin("-machine", "pc", "-m", "16");
    sendToStoppedQemu();
    daemon.destroyForcibly();
    daemon.onExit().join();
    signal(guest.pid(), PidFd.SIGCONT);
    assertGoesOnWithin(DEADLINE_MS);
    assertAccount(0, 0);
  }

  @Test
  void aDaemonStoppedBeforeQemuOpensThePipeIsKilledAndTheGuestGoesOn() throws Exception {
    begin("-machine", "pc", "-m", "16");
    sendToStoppedQemu();
    signal(daemon.pid(), PidFd.SIGSTOP);
    signal(guest.pid(), PidFd.SIGCONT);
    assertGoesOnWithin(DEADLINE_MS);
    assertTrue(daemon.waitFor(GRACE_MS + SLACK_MS, TimeUnit.MILLISECONDS), "daemon not killed");
    assertAccount(1, 1);
  }

  @Test
  void aDaemonStoppedDuringASlowFlushDoesNotHoldTheGuestLonger() throws Exception {
    long flushMs = 1_500;
    try (SlowDisk disk = new SlowDisk(folder.resolve("nbd"), flushMs)) {
      begin(
          "-machine",
          "pc",
          "-m",
          "16",
          "-drive",
          "if=none,id=slow,format=raw,file=nbd+unix:///?socket=" + folder.resolve("nbd"));
      assertFalse(guest.monitor.humanCommand("qemu-io slow \"write 0 4k\"").contains("rror"));
      daemon("paused");
      assertTrue(disk.flushing.await(20, TimeUnit.SECONDS), "no flush");
      signal(daemon.pid(), PidFd.SIGSTOP);
      assertGoesOnWithin(flushMs + DEADLINE_MS);
      assertTrue(daemon.waitFor(GRACE_MS + SLACK_MS, TimeUnit.MILLISECONDS), "daemon not killed");
      assertAccount(1, 1);
    }
  }

  @Test
  void theGuardOutlivesItsDaemonAndTellsThatTheGuestCrashed() throws Exception {
    begin("-machine", "pc", "-m", "16");
    daemon("never");
    assertTrue(says.readLine().startsWith("Committed["));
    assertTrue(daemon.waitFor(10, TimeUnit.SECONDS));
    assertWord(GuestState.ALIVE, false);
    try (GuardClient again = GuardClient.attach(settings.socket())) {
      assertEquals(settings.session().toString(), again.session());
      assertWord(GuestState.ALIVE, true);
      guest.process.destroyForcibly();
      assertWord(GuestState.CRASHED, true);
      assertEquals(GuestState.CRASHED, again.account().guest());
      assertEquals(0, standby.refused());
      again.finish();
    }
    guardProcess.onExit().get(10, TimeUnit.SECONDS);
    assertFalse(Files.exists(settings.socket()));
  }

  @Test
  void anOrderlyEndIsToldApart() throws Exception {
    guest = new TestGuest(folder, "-machine", "pc", "-m", "16", "-S");
    settings = settings(List.of("/bin/echo", "shut off (shutdown)"));
    standby.expect(settings.session(), settings.keyBytes());
    try (GuardClient client = start(settings)) {
      assertEquals(GuestState.ALIVE, client.account().guest());
      guest.monitor.humanCommand("quit");
    }
    assertWord(GuestState.ENDED_ON_PURPOSE, false);
  }

  @Test
  void anEndThatNobodyExplainsIsUnknownUnlessTheDaemonKnows() throws Exception {
    guest = new TestGuest(folder, "-machine", "pc", "-m", "16", "-S");
    settings = settings(List.of("/bin/false"));
    standby.expect(settings.session(), settings.keyBytes());
    try (GuardClient client = start(settings)) {
      guest.process.destroyForcibly();
      assertWord(GuestState.UNKNOWN, true);
      client.endsOnPurpose();
      assertWord(GuestState.ENDED_ON_PURPOSE, true);
    }
  }

  @Test
  void twoDaemonsAreNotServedAndADeadGuardStopsCaptures() throws Exception {
    begin("-machine", "pc", "-m", "16");
    daemon("paused");
    assertEquals("PAUSED", says.readLine());
    IOException refused =
        assertThrows(IOException.class, () -> GuardClient.attach(settings.socket()));
    assertTrue(refused.getMessage().contains("is attached and alive"), refused.getMessage());
    daemon.destroyForcibly();
    daemon.onExit().join();
    try (GuardClient client = GuardClient.attach(settings.socket())) {
      guardProcess.destroyForcibly();
      guardProcess.onExit().join();
      assertThrows(IOException.class, () -> client.begin(0));
      assertThrows(IOException.class, () -> client.begin(0));
    }
    settings = settings(List.of());
    try (GuardClient client = start(settings)) {
      assertEquals(GuestState.ALIVE, client.account().guest());
      System.out.println("## guard " + memory(guardProcess.pid()));
    }
  }

  @Test
  void capturesGoOnUnderARealGuard() throws Exception {
    deadlineMs = 10_000; // not the subject here, and the machine may be loaded
    begin("-machine", "pc", "-m", "16");
    try (GuardClient guard = GuardClient.attach(settings.socket());
        var log = org.understudy.dirtylog.DirtyLogs.open(mapping);
        EpochCapture capture =
            new EpochCapture(
                guest.monitor, mapping, log, guard, CaptureSettings.ofSlab(64 << 20))) {
      ImageSink sink = new ImageSink(mapping.layout());
      List<String> before = guest.descriptors();
      for (long epoch = 1; epoch <= 20; epoch++) {
        CaptureOutcome outcome = capture.captureInto(sink, epoch);
        assertInstanceOf(Committed.class, outcome, outcome.toString());
      }
      assertEquals(before, guest.descriptors());
      assertEquals(0, guard.account().deadlinesEnforced());
    }
  }

  private GuardSettings settings(List<String> reason) throws IOException {
    return GuardSettings.of(
            ProcessIdentity.of(guest.pid()),
            folder.resolve("guard.sock"),
            "127.0.0.1",
            standby.port(),
            reason)
        .withTimes(100, deadlineMs, GRACE_MS);
  }

  private GuardClient start(GuardSettings with) throws IOException {
    GuardClient client =
        GuardClient.start(with, folder.resolve("guard.settings"), List.of("setsid"));
    String file = folder.resolve("guard.settings").toString();
    guardProcess =
        ProcessHandle.allProcesses()
            .filter(p -> p.info().arguments().map(a -> List.of(a).contains(file)).orElse(false))
            .filter(p -> p.info().command().map(c -> c.endsWith("java")).orElse(false))
            .findFirst()
            .orElseThrow();
    return client;
  }

  private void daemon(String where) throws IOException {
    daemon =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx128m",
                "-XX:+UseSerialGC",
                "-cp",
                System.getProperty("java.class.path"),
                DaemonUnderTest.class.getName(),
                guest.secondSocket.toString(),
                Integer.toString(guest.pid()),
                settings.socket().toString(),
                where)
            .redirectError(folder.resolve("daemon.err").toFile())
            .start();
    says = daemon.inputReader();
    assertEquals("READY", says.readLine(), () -> read(folder.resolve("daemon.err")));
    daemon.getOutputStream().write('\n');
    daemon.getOutputStream().flush();
  }

  /** QEMU is stopped, and the daemon's command waits in its socket. */
  private void sendToStoppedQemu() throws IOException {
    daemon("sent");
    assertEquals("SENDING", says.readLine());
    signal(guest.pid(), PidFd.SIGSTOP);
    daemon.getOutputStream().write('\n');
    daemon.getOutputStream().flush();
    assertEquals("SENT", says.readLine());
  }

  private void assertStandsStill() throws Exception {
    int word = word();
    Thread.sleep(50); // not for synchronisation: the time in which a running guest would show
    assertEquals(word, word(), "the guest runs");
  }

  private void assertGoesOnWithin(long ms) throws Exception {
    int before = word();
    long startNs = System.nanoTime();
    await("the guest to go on", ms + SLACK_MS, () -> word() != before);
    System.out.println(
        "## went on after " + (System.nanoTime() - startNs) / 1_000_000 + " ms, allowed " + ms);
    assertEquals("running", guest.monitor.status());
  }

  private void assertWord(GuestState state, boolean daemonAlive) throws Exception {
    await(
        state + " and daemon " + daemonAlive,
        15_000,
        () -> {
          GuardWord word = standby.last(settings.session()).orElse(null);
          return word != null
              && word.guest() == state
              && word.daemonAlive() == daemonAlive
              && word.ageMs() < 2_000;
        });
  }

  private void assertAccount(int deadlines, int kills) throws Exception {
    assertWord(GuestState.ALIVE, false);
    try (GuardClient client = GuardClient.attach(settings.socket())) {
      GuardClient.Account account = client.account();
      assertEquals(deadlines, account.deadlinesEnforced());
      assertEquals(kills, account.daemonsKilled());
    }
  }

  private void await(String what, long ms, Callable<Boolean> condition) throws Exception {
    long deadlineNs = System.nanoTime() + ms * 1_000_000;
    while (!condition.call()) {
      assertTrue(System.nanoTime() < deadlineNs, "waited " + ms + " ms for " + what);
      Thread.sleep(1);
    }
  }

  private int word() throws IOException {
    byte[] all = new byte[Math.toIntExact(mapping.layout().bytes())];
    WitnessLog.read(mapping, all);
    return WritingGuest.word(
        java.nio.ByteBuffer.wrap(all).order(java.nio.ByteOrder.LITTLE_ENDIAN), 0);
  }

  private static void signal(long pid, int signal) throws IOException {
    try (PidFd process = new PidFd(Math.toIntExact(pid))) {
      process.signal(signal);
    }
  }

  private static String memory(long pid) throws IOException {
    return String.join(
        ", ",
        Files.readAllLines(Path.of("/proc/" + pid + "/status")).stream()
            .filter(line -> line.matches("(VmRSS|RssAnon|RssFile|Threads|VmHWM).*"))
            .map(line -> line.replaceAll("\\s+", " "))
            .toList());
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      return e.toString();
    }
  }
}
