package org.understudy.libvirt;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.understudy.libvirt.DomainState.Run;
import org.understudy.qmp.QmpCommand;
import org.understudy.standby.StandbyMonitor;
import org.understudy.standby.StandbyStatus;

/**
 * What the loader needs of the standby's monitor, through libvirt. libvirt waits for QEMU without a
 * limit of its own, so every call runs in another thread and is given up after a deadline.
 */
public final class LibvirtStandbyMonitor implements StandbyMonitor, AutoCloseable {
  private final LibvirtDomain domain;
  private final long deadlineMs;
  private final LifecycleEvent.Listener listener = this::changed;
  private final ExecutorService calls =
      Executors.newCachedThreadPool(
          call -> {
            Thread thread = new Thread(call, "standby-monitor");
            thread.setDaemon(true);
            return thread;
          });
  private volatile boolean resumedByUs;
  private volatile String disturbance = "";

  /**
   * Watches the domain's events from now on.
   *
   * @param domain the standby, just started
   * @param deadlineMs after which a call that libvirt does not answer fails
   */
  public LibvirtStandbyMonitor(LibvirtDomain domain, long deadlineMs) {
    this.domain = domain;
    this.deadlineMs = deadlineMs;
    domain.host().listen(listener);
  }

  @Override
  public void enablePostcopyRam() throws IOException {
    var arguments = QmpCommand.arguments();
    arguments
        .putArray("capabilities")
        .addObject()
        .put("capability", "postcopy-ram")
        .put("state", true);
    qmp(QmpCommand.of("migrate-set-capabilities", arguments));
  }

  @Override
  public void migrateIncoming(Path socket) throws IOException {
    qmp(QmpCommand.of("migrate-incoming", QmpCommand.arguments().put("uri", "unix:" + socket)));
  }

  @Override
  public StandbyStatus standbyStatus() throws IOException {
    String runState = qmp(QmpCommand.of("query-status")).path("status").asText();
    if (runState.equals(StandbyStatus.ARMED) && !resumedByUs && disturbance.isEmpty()) {
      // QEMU hides it, and the event may have been lost with a connection.
      DomainState state = bounded("the state of it", domain::state);
      if (state.run() != Run.PAUSED) {
        disturbance = "libvirt says that the standby is " + state + ", expected paused";
      }
    }
    return new StandbyStatus(runState, disturbance);
  }

  @Override
  public String migrationStatus() throws IOException {
    return qmp(QmpCommand.of("query-migrate")).path("status").asText("none");
  }

  @Override
  public void resume() throws IOException {
    resumedByUs = true;
    bounded(
        "resuming it",
        () -> {
          domain.resume();
          return true;
        });
  }

  @Override
  public void close() {
    domain.host().unlisten(listener);
    calls.shutdown();
  }

  private void changed(LifecycleEvent event) {
    if (event.uuid().equals(domain.uuid()) && !resumedByUs && disturbance.isEmpty()) {
      disturbance =
          switch (event.change()) {
            case RESUMED -> "somebody has resumed the standby";
            case RESET -> "somebody has reset the standby";
            case SHUT_DOWN, DESTROYED, CRASHED, FAILED, MIGRATED, SAVED, REVERTED ->
                "the standby has ended: " + event.change();
            case STARTED, SUSPENDED, PANICKED, DEFINED, OTHER -> "";
          };
    }
  }

  private JsonNode qmp(QmpCommand command) throws IOException {
    return bounded(command.name(), () -> domain.qmp(command));
  }

  private <T> T bounded(String what, Callable<T> call) throws IOException {
    Future<T> result = calls.submit(call);
    try {
      return result.get(deadlineMs, TimeUnit.MILLISECONDS);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof IOException failure) {
        throw failure;
      }
      throw new IOException("domain " + domain.name() + ", " + what, e.getCause());
    } catch (TimeoutException e) {
      throw new LibvirtFault(
          "domain "
              + domain.name()
              + ", "
              + what
              + ": no answer within "
              + deadlineMs
              + " ms; its QEMU waits for something");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted at " + what, e);
    }
  }
}
