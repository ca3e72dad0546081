package org.understudy.capture;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.understudy.capture.CaptureOutcome.Fault;
import org.understudy.capture.ConfigurationCheck.ConfigurationChanged;
import org.understudy.dirtylog.DirtyLog;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;

/**
 * The capture of epochs of one running guest. Owned by one thread, {@code capture}; the command
 * that pauses the guest blocks in a second one, {@code capture-command}.
 *
 * <p>The dirty log is read and re-armed only inside a pause, after QEMU has drained its disks: a
 * page that a disk reads into with O_DIRECT is marked when it is pinned, not when the data lands,
 * so a log re-armed while the guest runs loses the landing. For the same reason nothing is gained
 * by copying pages ahead of the pause. A live look does not re-arm, so it cannot say which of the
 * pages it saw were written again after the copy: every one of them is still marked in the pause,
 * and has to be read there again in full. Copying ahead would take the memory's bandwidth from the
 * guest and leave the pause as long as it was.
 *
 * <p>What helps is an arming pause: where more pages are marked than may be copied in a pause, the
 * log is re-armed in it and the guest goes on at once; the pages are copied while it runs, and
 * given to the sink as part of the same epoch. Whatever the guest or a disk writes from then on is
 * marked anew and comes in a later pause, which overrides what was copied. That repeats until a
 * pause finds few enough.
 *
 * <p>A page taken from the log is in {@code carried} until an epoch that holds it is committed, so
 * a failed epoch loses none.
 */
public final class EpochCapture implements AutoCloseable {
  private final GuestMonitor monitor;
  private final GuestMapping mapping;
  private final DirtyLog log;
  private final PauseGuard guard;
  private final ConfigurationCheck configuration;
  private final CaptureSettings settings;
  private final ProcessOwner owner;
  private final StagingSlab slab;
  private final ByteBuffer deviceState;
  private final PageSet carried; // taken from the log and not yet committed
  private final PageSet wanted; // what the present pause has to copy
  private final PageSet scanned;
  private final ExecutorService commands =
      Executors.newCachedThreadPool(
          task -> {
            Thread thread = new Thread(task, "capture-command");
            thread.setDaemon(true);
            return thread;
          });

  /**
   * A capture whose first epoch holds every page of every block.
   *
   * @param mapping the guest's blocks, as {@link RamMap#survey} found them
   * @param log armed on the same mapping; stays the caller's to close
   */
  public EpochCapture(
      GuestMonitor monitor,
      GuestMapping mapping,
      DirtyLog log,
      PauseGuard guard,
      CaptureSettings settings)
      throws IOException {
    this(monitor, mapping, log, guard, ConfigurationCheck.NONE, settings);
  }

  /** The same for a guest whose devices may change; each epoch is checked before its commit. */
  public EpochCapture(
      GuestMonitor monitor,
      GuestMapping mapping,
      DirtyLog log,
      PauseGuard guard,
      ConfigurationCheck configuration,
      CaptureSettings settings)
      throws IOException {
    this.configuration = configuration;
    this.monitor = monitor;
    this.mapping = mapping;
    this.log = log;
    this.guard = guard;
    this.settings = settings;
    owner = ProcessOwner.of(mapping.pid());
    slab = new StagingSlab(mapping, settings.slabBytes());
    deviceState = ByteBuffer.allocateDirect(settings.deviceStateLimitBytes());
    int pages = mapping.layout().pages();
    carried = new PageSet(pages);
    carried.fill();
    wanted = new PageSet(pages);
    scanned = new PageSet(pages);
    warmUp();
  }

  /** Every page is captured again with the next epoch, as with the first. */
  public void captureEverything() {
    carried.fill();
  }

  /** These pages are captured with the next epoch, written or not. */
  public void captureAgain(PageSet pages) {
    carried.addAll(pages);
  }

  /**
   * Number of pages that the next epoch would hold if it were captured now. Looks at the log
   * without re-arming it, while the guest runs.
   */
  public int pendingPages() throws IOException {
    scanned.clear();
    log.look(scanned);
    scanned.addAll(carried);
    return scanned.count();
  }

  /**
   * Captures the guest at one instant into the sink. Whatever the outcome, the guest goes on: the
   * outcome's status says so where something went wrong.
   *
   * @param epoch its number, as {@link EpochSink#begin} wants it
   */
  public CaptureOutcome captureInto(EpochSink sink, long epoch) {
    Attempt attempt = new Attempt(sink, epoch);
    try {
      return attempt.run();
    } catch (CaptureFault fault) {
      return attempt.discard(fault);
    } catch (RuntimeException defect) {
      attempt.discard(CaptureFault.of(Fault.MEMORY, defect));
      throw defect;
    }
  }

  @Override
  public void close() {
    commands.shutdownNow();
  }

  /** One epoch on its way. */
  private final class Attempt {
    private final EpochSink sink;
    private final long epoch;
    private final List<PauseTiming> pauses = new ArrayList<>();
    private final long startNs = System.nanoTime();
    private final long zeroPagesBefore = slab.zeroPages();
    private int fed;
    private boolean begun;

    Attempt(EpochSink sink, long epoch) {
      this.sink = sink;
      this.epoch = epoch;
    }

    CaptureOutcome run() throws CaptureFault {
      // Pages of earlier, failed attempts; from the second round on those still to be copied.
      wanted.set(carried);
      while (!pauseOnce()) {
        if (pauses.size() >= settings.maximumRounds()) {
          throw new CaptureFault(
              Fault.NOT_CONVERGING,
              "after "
                  + pauses.size()
                  + " rounds the guest still writes more than the "
                  + settings.pausedCopyPages()
                  + " pages that may be copied in a pause");
        }
        copyWhileRunning();
      }
      long capturedNs = System.nanoTime();
      checkConfiguration();
      give();
      int zeroPages = Math.toIntExact(slab.zeroPages() - zeroPagesBefore);
      carried.clear();
      return new CaptureOutcome.Committed(
          epoch,
          List.copyOf(pauses),
          fed,
          zeroPages,
          capturedNs - startNs,
          System.nanoTime() - capturedNs);
    }

    /** One pause. Returns whether all pages wanted were copied in it. */
    private boolean pauseOnce() throws CaptureFault {
      CaptureFault failed;
      boolean asked = false;
      Pause pause = new Pause(monitor, owner, guard, commands, settings);
      try (pause) {
        pause.awaitStopped();
        guard.firstByte();
        boolean complete = copyPaused(pause);
        // At once, since the guard's clock runs until it hears from us, though the guest runs
        // again.
        asked = true;
        askGuard(null);
        return complete;
      } catch (CaptureFault e) {
        failed = e;
      } catch (IOException e) {
        failed = CaptureFault.of(Fault.NO_GUARD, e);
      }
      if (asked) {
        throw failed;
      }
      askGuard(failed);
      throw failed;
    }

    private boolean copyPaused(Pause pause) throws CaptureFault {
      boolean fits;
      int pages = 0;
      long startedNs = System.nanoTime();
      long scannedNs;
      try {
        scanned.clear();
        rearm();
        // From here on the log has forgotten these pages: nobody but we know them.
        carried.addAll(scanned);
        wanted.addAll(scanned);
        pages = wanted.count();
        fits = pages <= settings.pausedCopyPages();
        scannedNs = System.nanoTime();
        if (fits) {
          slab.fill(wanted, 0);
        }
      } catch (IOException e) {
        throw CaptureFault.of(Fault.MEMORY, e);
      }
      long copiedNs = System.nanoTime();
      guard.ending();
      deviceState.clear();
      long replyNs = pause.drain(deviceState);
      deviceState.flip();
      pauses.add(
          new PauseTiming(
              pause.stoppedNs() - pause.sentNs(),
              scannedNs - startedNs,
              copiedNs - scannedNs,
              replyNs - copiedNs,
              replyNs - pause.stoppedNs(),
              fits ? pages : 0,
              deviceState.limit()));
      try {
        DeviceStateFile.check(deviceState);
      } catch (IOException e) {
        throw CaptureFault.of(Fault.QEMU, e);
      }
      return fits;
    }

    private void rearm() throws IOException {
      try {
        log.rearm(scanned);
      } catch (IOException e) {
        carried.fill(); // some marks may be lost
        throw e;
      }
    }

    /** The guard's verdict goes before any other: after its deadline the guest may have run. */
    private void askGuard(CaptureFault failed) throws CaptureFault {
      boolean inTime;
      try {
        inTime = guard.endedInTime();
      } catch (IOException e) {
        throw failed != null ? failed : CaptureFault.of(Fault.NO_GUARD, e);
      }
      if (!inTime) {
        throw new CaptureFault(
            Fault.DEADLINE,
            "the guard ended the pause at its deadline"
                + (failed == null ? "" : ": " + failed.getMessage()),
            failed);
      }
      if (failed != null) {
        throw failed;
      }
    }

    private void copyWhileRunning() throws CaptureFault {
      int page = 0;
      while (page >= 0) {
        try {
          page = slab.fill(wanted, page);
        } catch (IOException e) {
          throw CaptureFault.of(Fault.MEMORY, e);
        }
        feed();
      }
      wanted.clear();
    }

    private void feed() throws CaptureFault {
      try {
        if (!begun) {
          begun = true;
          sink.begin(epoch);
        }
        slab.feed(sink);
        fed += slab.count();
      } catch (IOException e) {
        throw CaptureFault.of(Fault.SINK, e);
      }
    }

    private void give() throws CaptureFault {
      feed();
      try {
        sink.deviceState(deviceState);
        sink.commit();
      } catch (IOException e) {
        throw CaptureFault.of(Fault.SINK, e);
      }
    }

    private void checkConfiguration() throws CaptureFault {
      try {
        configuration.check();
        if (!RamMap.unchanged(monitor, mapping.layout())) {
          throw new CaptureFault(
              Fault.LAYOUT_CHANGED, "QEMU's RAM blocks are no longer " + mapping.layout());
        }
      } catch (CaptureFault e) {
        throw e;
      } catch (ConfigurationChanged e) {
        throw CaptureFault.of(Fault.CONFIGURATION_CHANGED, e);
      } catch (IOException e) {
        throw CaptureFault.of(Fault.QEMU, e);
      }
    }

    CaptureOutcome discard(CaptureFault fault) {
      String sentence = fault.getMessage();
      if (begun) {
        try {
          sink.discard();
        } catch (IOException e) {
          sentence += "; discarding the epoch failed, too: " + e.getMessage();
        }
      }
      return new CaptureOutcome.Discarded(
          epoch, List.copyOf(pauses), fault.fault(), statusNow(), sentence);
    }
  }

  /** QEMU's run state, asked with a bounded wait: it may be in the command still. */
  private String statusNow() {
    try {
      return commands.submit(monitor::status).get(settings.replyLimitMs(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      return "unknown: no answer within " + settings.replyLimitMs() + " ms";
    } catch (ExecutionException e) {
      return "unknown: " + e.getCause().getMessage();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return "unknown: interrupted";
    }
  }

  /** The first calls into the kernel take tens of milliseconds; not while a guest stands still. */
  private void warmUp() throws IOException {
    scanned.addRange(0, Math.min(16, scanned.capacity()));
    slab.fill(scanned, 0);
    scanned.clear();
    log.look(scanned);
  }
}
