package org.understudy.capture;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.understudy.capture.CaptureOutcome.Fault;
import org.understudy.capture.GuestMonitor.PassedDescriptor;
import org.understudy.fault.FaultPoint;
import org.understudy.linux.AnonymousPipe;

/**
 * One pause of the guest, from the command to QEMU's reply. QEMU writes its device state into an
 * anonymous pipe whose buffer is smaller than any device state: it stops the guest, fills the
 * buffer and blocks, and the guest stands still until the pipe is drained or closed.
 *
 * <p>It fails safe by construction: whenever the reading end goes away, by {@link #close} or with
 * our process, QEMU's write fails with EPIPE and QEMU starts the guest again. The pipe has no name,
 * since a reader that dies before QEMU opens a named one leaves QEMU waiting in open, the guest
 * stopped, for ever.
 */
final class Pause implements AutoCloseable {
  /** The least a pipe can hold; less than any device state. */
  private static final int HELD_BYTES = 4096;

  /** Draining 150 KiB takes a tenth of the time through the widest pipe that anybody may have. */
  private static final int DRAINED_BYTES = 1 << 20;

  /** Longest draining of a device state that nobody wants. */
  private static final long WASTE_LIMIT_MS = 200;

  private final GuestMonitor monitor;
  private final CaptureSettings settings;
  private final ExecutorService commands;
  private final AnonymousPipe pipe;
  private final PassedDescriptor descriptor;
  private final CompletableFuture<Long> reply;
  private final long sentNs;
  private long stoppedNs;
  private boolean drained;

  /**
   * Sends the command.
   *
   * @param commands runs the blocking command in a thread of its own
   * @throws CaptureFault NO_GUARD or QEMU; nothing is paused then and nothing is left in QEMU
   */
  Pause(
      GuestMonitor monitor,
      ProcessOwner owner,
      PauseGuard guard,
      ExecutorService commands,
      CaptureSettings settings)
      throws CaptureFault {
    this.monitor = monitor;
    this.settings = settings;
    this.commands = commands;
    try {
      pipe = new AnonymousPipe();
    } catch (IOException e) {
      throw CaptureFault.of(Fault.MEMORY, e);
    }
    boolean begun = false;
    try {
      descriptor = passWritingEnd(owner);
      begun = true;
    } catch (IOException e) {
      throw CaptureFault.of(Fault.QEMU, e);
    } finally {
      if (!begun) {
        pipe.close();
      }
    }
    begun = false;
    try {
      guard.begin(pipe.readFd());
      begun = true;
    } catch (IOException e) {
      throw new CaptureFault(
          Fault.NO_GUARD, "no pause without the guard's word: " + e.getMessage(), e);
    } finally {
      if (!begun) {
        pipe.close();
        takeBack();
      }
    }
    FaultPoint.PAUSE_ANNOUNCED.reached();
    sentNs = System.nanoTime();
    String path = "/proc/self/fd/" + descriptor.number();
    reply =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                monitor.saveDevicesState(path);
                return System.nanoTime();
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              }
            },
            commands);
    FaultPoint.PAUSE_COMMANDED.reached();
  }

  /** When the command was sent, by System.nanoTime. */
  long sentNs() {
    return sentNs;
  }

  /** When the first byte was there, by System.nanoTime. */
  long stoppedNs() {
    return stoppedNs;
  }

  /** Waits until the guest is stopped, its disks drained and flushed. */
  void awaitStopped() throws CaptureFault {
    try {
      while (!pipe.awaitReadable(20)) {
        if (reply.isDone()) {
          throw refusal();
        }
        if (System.nanoTime() - sentNs > settings.firstByteLimitMs() * 1_000_000) {
          throw new CaptureFault(
              Fault.QEMU,
              "QEMU did not stop the guest within " + settings.firstByteLimitMs() + " ms");
        }
      }
      stoppedNs = System.nanoTime();
      if (pipe.bytesAvailable() == 0) {
        throw new CaptureFault(Fault.QEMU, "QEMU ended before it wrote any device state");
      }
    } catch (CaptureFault e) {
      throw e;
    } catch (IOException e) {
      throw CaptureFault.of(Fault.QEMU, e);
    }
  }

  /**
   * Drains the pipe, which lets the guest go on.
   *
   * @param state is given QEMU's device state, from its position on
   * @return when QEMU replied, by System.nanoTime; the guest runs since a little before
   */
  long drain(ByteBuffer state) throws CaptureFault {
    long startNs = System.nanoTime();
    try {
      try {
        pipe.setSize(DRAINED_BYTES);
      } catch (IOException narrow) {
        // Another limit for pipes on this host: as it is, then, only slower.
      }
      // The end is told by QEMU's reply alone: QEMU keeps its duplicate of the writing end open
      // until remove-fd, so the pipe's end may never come.
      while (true) {
        boolean done = reply.isDone();
        if (pipe.awaitReadable(done ? 0 : 1)) {
          if (!state.hasRemaining()) {
            throw new CaptureFault(
                Fault.QEMU, "a device state of more than " + state.capacity() + " bytes");
          }
          if (pipe.read(state) < 0) {
            break;
          }
        } else if (done) {
          break;
        } else if (System.nanoTime() - startNs > settings.replyLimitMs() * 1_000_000) {
          throw new CaptureFault(
              Fault.QEMU, "no reply from QEMU for " + settings.replyLimitMs() + " ms");
        }
      }
      drained = true;
      return reply.get(settings.replyLimitMs(), TimeUnit.MILLISECONDS);
    } catch (CaptureFault e) {
      throw e;
    } catch (IOException | TimeoutException e) {
      throw CaptureFault.of(Fault.QEMU, e);
    } catch (ExecutionException e) {
      throw refusal();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CaptureFault(Fault.QEMU, "interrupted while QEMU replied", e);
    }
  }

  /** Whether QEMU has ended the command, so that it answers others. */
  boolean replied() {
    return reply.isDone();
  }

  /**
   * Lets the guest go on if it still stands, and takes the descriptor back. Drains the pipe rather
   * than just closing it: a QEMU whose write fails in the middle never closes the file it opened
   * (qmp_xen_save_devices_state of 7.2), which would cost it one descriptor for each failed pause.
   */
  @Override
  public void close() {
    if (!drained && stoppedNs != 0) {
      drainToNowhere();
    }
    pipe.close();
    if (!drained) {
      try {
        reply.get(settings.replyLimitMs(), TimeUnit.MILLISECONDS);
      } catch (ExecutionException | TimeoutException expected) {
        // QEMU says that its write failed, or is still draining its disks: it will fail then.
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
    takeBack();
  }

  private void drainToNowhere() {
    long startNs = System.nanoTime();
    ByteBuffer nowhere = ByteBuffer.allocateDirect(1 << 16);
    try {
      while (System.nanoTime() - startNs < WASTE_LIMIT_MS * 1_000_000) {
        boolean done = reply.isDone();
        if (!pipe.awaitReadable(done ? 0 : 1)) {
          if (done) {
            return;
          }
        } else if (pipe.read(nowhere.clear()) < 0) {
          return;
        }
      }
    } catch (IOException e) {
      // Closing it lets the guest go on as well.
    }
  }

  private PassedDescriptor passWritingEnd(ProcessOwner owner) throws IOException {
    pipe.setSize(HELD_BYTES);
    // QEMU opens /proc/self/fd/N anew, which is checked against the pipe's owner.
    if (owner.uid() != 0) {
      pipe.changeOwner(owner.uid(), owner.gid());
    }
    PassedDescriptor passed = monitor.addDescriptor(pipe.writeFd());
    pipe.closeWrite();
    return passed;
  }

  private void takeBack() {
    Runnable removal =
        () -> {
          try {
            monitor.removeDescriptor(descriptor);
          } catch (IOException gone) {
            // QEMU has ended; or it refuses, and the descriptor of a closed pipe stays with it.
          }
        };
    if (reply != null && !reply.isDone()) {
      // QEMU is still in the command and would keep us waiting; it answers when it is through.
      commands.execute(removal);
    } else {
      removal.run();
    }
  }

  private CaptureFault refusal() {
    try {
      reply.get(0, TimeUnit.MILLISECONDS);
      return new CaptureFault(Fault.QEMU, "QEMU ended the command without a device state");
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      return CaptureFault.of(
          Fault.QEMU, cause instanceof UncheckedIOException io ? io.getCause() : cause);
    } catch (TimeoutException e) {
      return CaptureFault.of(Fault.QEMU, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return CaptureFault.of(Fault.QEMU, e);
    }
  }
}
