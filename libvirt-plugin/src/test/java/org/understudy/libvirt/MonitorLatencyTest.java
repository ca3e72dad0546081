package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.understudy.capture.GuestMonitor.PassedDescriptor;
import org.understudy.libvirt.LifecycleEvent.Change;
import org.understudy.linux.AnonymousPipe;
import org.understudy.qmp.QmpCommand;
import org.understudy.testbed.TwoHosts;
import org.understudy.testbed.TwoHosts.Host;

/**
 * What the way through libvirt costs, alone and beside a poller of {@code domstats} five times a
 * second; printed, since it depends on the machine.
 */
@Tag("qemu")
class MonitorLatencyTest {
  private static final int ROUNDS = 60;

  @Test
  void capturesCommandsWorkBesideAPollerOfDomstats() throws Exception {
    assumeTrue(TwoHosts.unavailable().isEmpty(), () -> TwoHosts.unavailable().orElseThrow());
    try (LibvirtBed bed = new LibvirtBed()) {
      LibvirtDomain domain = bed.startOnA(LibvirtBed.proof("timed"));
      EventRecord events = new EventRecord("timed");
      bed.a.listen(events);
      measure("alone", domain);
      try (Poller poller = new Poller(bed)) {
        measure("domstats at 5 Hz", domain);
        System.out.println("answers of domstats meanwhile: " + poller.answers.get());
        assertTrue(poller.answers.get() > 5, "domstats was answered meanwhile");
      }
      assertEquals("running", new LibvirtGuestMonitor(domain).status());
      events.await(Change.RESUMED);
      bed.serialOnA("timed").awaitPasses(2, LibvirtBed.BOOT);
    }
  }

  private static void measure(String beside, LibvirtDomain domain) throws Exception {
    LibvirtGuestMonitor monitor = new LibvirtGuestMonitor(domain);
    QmpCommand status = QmpCommand.of("query-status");
    times(beside, "query-status", () -> domain.qmp(status));
    try (AnonymousPipe pipe = new AnonymousPipe()) {
      times(
          beside,
          "add-fd and remove-fd",
          () -> {
            PassedDescriptor passed = monitor.addDescriptor(pipe.writeFd());
            monitor.removeDescriptor(passed);
            return passed;
          });
    }
    times(
        beside, "add-fd, save, drain, remove-fd", () -> LibvirtDomainTest.saveThroughPipe(monitor));
  }

  private static void times(String beside, String what, Callable<?> call) throws Exception {
    for (int i = 0; i < 10; i++) {
      call.call();
    }
    double[] ms = new double[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
      long start = System.nanoTime();
      call.call();
      ms[i] = (System.nanoTime() - start) / 1e6;
      TimeUnit.MILLISECONDS.sleep(50); // a pace, as a capture has one; not a wait for something
    }
    Arrays.sort(ms);
    System.out.printf(
        "through libvirt, %s: %s: median %.2f ms, 95 %% %.2f ms, most %.2f ms of %d%n",
        beside, what, ms[ROUNDS / 2], ms[ROUNDS * 95 / 100], ms[ROUNDS - 1], ROUNDS);
  }

  /** One virsh that is asked for domstats every 200 ms. */
  private static final class Poller implements AutoCloseable {
    private final Process virsh;
    private final ScheduledExecutorService pace = Executors.newSingleThreadScheduledExecutor();
    private final ScheduledFuture<?> polling;
    private final AtomicInteger answers = new AtomicInteger();

    Poller(LibvirtBed bed) throws IOException {
      virsh = new ProcessBuilder("virsh", "-q", "-c", bed.hosts.uri(Host.A)).start();
      Thread reader =
          new Thread(
              () ->
                  virsh
                      .inputReader()
                      .lines()
                      .filter(line -> line.contains("state.state="))
                      .forEach(line -> answers.incrementAndGet()),
              "domstats");
      reader.setDaemon(true);
      reader.start();
      OutputStream commands = virsh.getOutputStream();
      polling =
          pace.scheduleAtFixedRate(
              () -> {
                try {
                  commands.write("domstats\n".getBytes(StandardCharsets.UTF_8));
                  commands.flush();
                } catch (IOException ended) {
                  pace.shutdown();
                }
              },
              0,
              200,
              TimeUnit.MILLISECONDS);
    }

    @Override
    public void close() {
      polling.cancel(true);
      pace.shutdownNow();
      virsh.destroyForcibly();
    }
  }
}
