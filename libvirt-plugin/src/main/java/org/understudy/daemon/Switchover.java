package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.understudy.capture.CaptureOutcome;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.link.Goodbye;
import org.understudy.ssh.ControlException;

/**
 * A planned move of the guest to the standby host: it is suspended, its last epoch is sent, this
 * host gives up the ownership for good, and only then the standby may run it. Loses nothing. If
 * nobody can say whether the standby runs, the guest stays paused here.
 */
final class Switchover {
  private static final Duration PROMOTE = Duration.ofSeconds(60);
  private static final long ACKNOWLEDGE_MS = 30_000;

  private final ThisHost host;
  private final LibvirtDomain domain;
  private final CompletableFuture<ObjectNode> done = new CompletableFuture<>();
  private boolean leftPaused;

  Switchover(ThisHost host, LibvirtDomain domain) {
    this.host = host;
    this.domain = domain;
  }

  /** Waits for its end; for the thread that asked. */
  ObjectNode await() throws IOException, InterruptedException {
    try {
      return done.get();
    } catch (ExecutionException e) {
      throw new IOException(e.getCause().getMessage(), e);
    }
  }

  /** Whether the guest stands still here, because it may run on the other host. */
  boolean guestIsLeftPaused() {
    return leftPaused;
  }

  /** Does it, in the capture thread; returns the new ownership. */
  Ownership carryOut(CaptureSession capture, StandbyLink link, long epoch, Ownership mine)
      throws IOException, InterruptedException {
    try {
      Ownership moved = move(capture, link, epoch, mine);
      return moved;
    } catch (IOException | RuntimeException e) {
      done.completeExceptionally(e);
      throw e;
    }
  }

  private Ownership move(CaptureSession capture, StandbyLink link, long epoch, Ownership mine)
      throws IOException, InterruptedException {
    long startedNs = System.nanoTime();
    domain.suspend();
    Ownership moved = mine.nextGeneration(mine.peer(), Ownership.Role.FORMER);
    try {
      CaptureOutcome outcome = capture.captureInto(link.sink(), epoch);
      if (outcome instanceof CaptureOutcome.Discarded discarded) {
        throw new IOException("the last epoch was not captured: " + discarded.reason());
      }
      link.awaitAcknowledged(epoch, ACKNOWLEDGE_MS);
      // From here on this host does not own the guest, whatever happens to it.
      host.ownership().write(moved);
    } catch (IOException | RuntimeException e) {
      domain.resume();
      throw e;
    }
    ObjectNode request = JsonNodeFactory.instance.objectNode();
    request.put("domain", domain.uuid().toString()).put("epoch", epoch);
    request.put("generation", moved.generation());
    ObjectNode report;
    try {
      link.goodbye(Goodbye.SWITCHOVER, "switchover at epoch " + epoch);
      report = link.control().call("promote", request, PROMOTE);
    } catch (ControlException refused) {
      // The standby said that it does not run the guest: take it back with a generation of its own.
      host.ownership().write(moved.nextGeneration(host.name(), Ownership.Role.PRIMARY));
      domain.resume();
      throw new IOException(
          "the standby host did not take over: " + refused.getMessage() + "; the guest runs here",
          refused);
    } catch (IOException unknown) {
      leftPaused = true;
      throw new IOException(
          "nobody can say whether "
              + mine.peer()
              + " runs the guest ("
              + unknown.getMessage()
              + "); it stays paused here. Look there: if it runs, destroy it here; if not, run: understudy claim "
              + domain.name()
              + ", and resume it here",
          unknown);
    }
    domain.destroy();
    report.put("downtimeMs", (System.nanoTime() - startedNs) / 1e6);
    host.events().add(domain.name(), "switched over to " + mine.peer() + " at epoch " + epoch);
    done.complete(report);
    return moved;
  }
}
