package org.understudy.libvirt;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
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
  private volatile ArmedConfiguration armed; // as it was at the first look

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
      // The event may have been lost with a connection.
      DomainState state = bounded("the state of it", domain::state);
      ArmedConfiguration now = ArmedConfiguration.of(bounded("its XML", domain::xml));
      if (armed == null) {
        armed = now;
      }
      String change = armed.firstChange(now);
      if (state.run() != Run.PAUSED) {
        disturbance = "libvirt says that the standby is " + state + ", expected paused";
      } else if (change != null) {
        disturbance = "somebody has changed the standby's machine: " + change;
      }
    }
    return new StandbyStatus(runState, disturbance);
  }

  @Override
  public Set<String> migrationCapabilities() throws IOException {
    Set<String> on = new TreeSet<>();
    for (JsonNode each : qmp(QmpCommand.of("query-migrate-capabilities"))) {
      if (each.path("state").asBoolean()) {
        on.add(each.path("capability").asText());
      }
    }
    return on;
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
          try {
            domain.resume();
          } catch (LibvirtFault refused) {
            // Ordered before by somebody who died meanwhile: that is all that is wanted.
            if (domain.state().run() != Run.RUNNING) {
              throw refused;
            }
          }
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
            case POWER_BUTTON -> "somebody has pressed the standby's power button";
            case SHUT_DOWN, DESTROYED, CRASHED, FAILED, MIGRATED, SAVED ->
                "the standby has ended: " + event.change();
            case STARTED, SUSPENDED, OTHER -> "";
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
