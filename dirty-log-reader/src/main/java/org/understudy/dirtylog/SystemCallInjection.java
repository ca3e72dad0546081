package org.understudy.dirtylog;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.understudy.linux.Errno;
import org.understudy.linux.ErrnoException;
import org.understudy.linux.ProcessMemory;
import org.understudy.linux.Ptrace;

/**
 * Makes a running process execute one system call. A thread is stopped, a {@link SignalFrame} of
 * its state goes onto its stack below the red zone (it takes the room that a signal would), and a
 * single PTRACE_SETREGS sends it to {@code syscall; ret} with that frame as the place to return to.
 * Before that step nothing has changed; after it the thread restores itself. So we may die at any
 * time. From one thread only.
 */
final class SystemCallInjection {
  /** Told at every step. */
  interface Observer {
    /** The injection has come to {@code step}. */
    void at(InjectionStep step);
  }

  private static final long RETRY_FOR_NS = 5_000_000_000L;
  private static final int PAGE = 4096;

  private final int pid;
  private final Observer observer;
  private final ProcessMemory memory;
  private final CodeAddresses code;
  private final SignalFrame frame = new SignalFrame();
  private final ByteBuffer registers = direct(Ptrace.REGISTERS_BYTES);
  private final ByteBuffer xstate = direct(Ptrace.XSTATE_BYTES);
  private final ByteBuffer scratch = direct(32);
  private String obstacle;
  private long result;
  private long stoppedNs;

  /** Prepares; the process is only read. */
  SystemCallInjection(int pid, Observer observer) throws IOException {
    this.pid = pid;
    this.observer = observer;
    memory = new ProcessMemory(pid);
    code = CodeAddresses.in(memory);
    refuseShadowStack();
  }

  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
  }

  /**
   * Executes system call {@code number} in whichever thread is first in a state for it, the main
   * thread before others.
   *
   * @return its result, negative: minus the errno
   * @throws IOException no thread could be used within 5 s, or the process has ended
   */
  long call(long number, long first, long second) throws IOException {
    long deadlineNs = System.nanoTime() + RETRY_FOR_NS;
    while (true) {
      List<Integer> threads = threads();
      for (int tid : threads) {
        if (attempt(new Ptrace(tid), number, first, second)) {
          return result;
        }
      }
      if (threads.isEmpty() || System.nanoTime() > deadlineNs) {
        throw new IOException(
            "none of the %d threads of process %d could be used, the last because %s"
                .formatted(threads.size(), pid, obstacle));
      }
      java.util.concurrent.locks.LockSupport.parkNanos(200_000); // state changes by itself
    }
  }

  /** How long the thread last used stood still or ran our code, in nanoseconds. */
  long stoppedNs() {
    return stoppedNs;
  }

  private List<Integer> threads() throws IOException {
    List<Integer> threads = new ArrayList<>();
    try (DirectoryStream<Path> tasks =
        Files.newDirectoryStream(Path.of("/proc/" + pid + "/task"))) {
      for (Path task : tasks) {
        threads.add(Integer.valueOf(task.getFileName().toString()));
      }
    }
    threads.sort((a, b) -> a == pid ? -1 : b == pid ? 1 : Integer.compare(a, b));
    return threads;
  }

  /** One thread; false, with {@link #obstacle} set and the thread let go, if it cannot be used. */
  private boolean attempt(Ptrace thread, long number, long first, long second) throws IOException {
    try {
      thread.seize();
    } catch (ErrnoException e) {
      if (e.errno() == Errno.ESRCH) {
        obstacle = "it ended";
        return false;
      }
      throw e;
    }
    observer.at(InjectionStep.SEIZED);
    if (!stop(thread)) {
      obstacle = "it ended";
      return false;
    }
    long stoppedAtNs = System.nanoTime();
    observer.at(InjectionStep.STOPPED);
    if (!writeFrame(thread)) {
      thread.detach(0);
      return false;
    }
    observer.at(InjectionStep.FRAME_WRITTEN);
    send(thread, number, first, second);
    observer.at(InjectionStep.REGISTERS_SET);
    result = awaitResult(thread);
    observer.at(InjectionStep.RETURNED);
    thread.detach(0);
    stoppedNs = System.nanoTime() - stoppedAtNs;
    observer.at(InjectionStep.DETACHED);
    return true;
  }

  /** Brings the thread to our own stop; a signal that was faster is delivered first. */
  private boolean stop(Ptrace thread) throws IOException {
    thread.interrupt();
    while (true) {
      switch (thread.await()) {
        case INTERRUPTED -> {
          return true;
        }
        case SIGNAL -> {
          thread.interrupt(); // the signal's stop took the place of ours
          thread.resume(thread.signal());
        }
        case SYSTEM_CALL -> {
          thread.interrupt();
          thread.resume(0);
        }
        case GROUP -> {
          thread.detach(0);
          throw new IOException(
              "process " + pid + " is stopped by signal " + thread.signal() + "; resume it first");
        }
        case ENDED -> {
          return false;
        }
      }
    }
  }

  private boolean writeFrame(Ptrace thread) throws IOException {
    thread.getRegisters(registers);
    obstacle = SignalFrame.obstacle(registers);
    if (obstacle != null || inRestartableSequence(thread)) {
      return false;
    }
    int xstateBytes = thread.getXstate(xstate);
    frame.compose(registers, xstate, xstateBytes, thread.getSignalMask(), code.restorer());
    // From the top down, a page at a time: what lies below a guard page is not the stack.
    ByteBuffer bytes = frame.bytes();
    int end = bytes.limit();
    while (end > 0) {
      long lastPage = (frame.stackPointer() + end - 1) & -PAGE;
      int start = (int) Math.max(0, lastPage - frame.stackPointer());
      try {
        memory.write(frame.stackPointer() + start, bytes.clear().position(start).limit(end));
      } catch (ErrnoException e) {
        if (e.errno() != Errno.EFAULT) {
          throw e;
        }
        obstacle = "its stack has no room for a signal frame";
        return false;
      }
      end = start;
    }
    return true;
  }

  /** Code that a signal would have to abort (rseq(2)) must not be left and entered again. */
  private boolean inRestartableSequence(Ptrace thread) throws IOException {
    long rseq = thread.getRseqAddress();
    if (rseq == 0) {
      return false;
    }
    // struct rseq: u64 rseq_cs at 8; struct rseq_cs: u32 version, u32 flags, u64 start_ip,
    // u64 post_commit_offset, u64 abort_ip.
    memory.read(rseq + 8, scratch.clear().limit(8));
    long section = scratch.getLong(0);
    if (section == 0) {
      return false;
    }
    memory.read(section, scratch.clear());
    long into = registers.getLong(Ptrace.RIP) - scratch.getLong(8);
    if (Long.compareUnsigned(into, scratch.getLong(16)) < 0) {
      obstacle = "it is inside a restartable sequence";
      return true;
    }
    return false;
  }

  private void send(Ptrace thread, long number, long first, long second) throws IOException {
    registers.putLong(Ptrace.RAX, number).putLong(Ptrace.ORIG_RAX, -1);
    registers.putLong(Ptrace.RDI, first).putLong(Ptrace.RSI, second);
    registers.putLong(Ptrace.RIP, code.systemCall()).putLong(Ptrace.RSP, frame.stackPointer());
    thread.setRegisters(registers);
  }

  /** Follows the thread to the end of our call; signals and their handlers come in between. */
  private long awaitResult(Ptrace thread) throws IOException {
    int deliver = 0;
    while (true) {
      thread.resumeToSystemCall(deliver);
      deliver = 0;
      switch (thread.await()) {
        case SYSTEM_CALL -> {
          if (thread.atExitOf(code.systemCall() + 2, frame.stackPointer())) {
            return thread.systemCallResult();
          }
          observer.at(InjectionStep.ENTERED);
        }
        case SIGNAL -> deliver = thread.signal();
        case INTERRUPTED, GROUP -> {}
        case ENDED -> throw new IOException("process " + pid + " ended");
      }
    }
  }

  /** A user shadow stack would not know our frame, and the thread would be killed. */
  private void refuseShadowStack() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/status"))) {
      if (line.startsWith("x86_Thread_features:") && line.contains("shstk")) {
        throw new IOException(
            "process " + pid + " runs with a shadow stack (x86_Thread_features: shstk)");
      }
    }
  }

  /** Goes through the code of a call with a thread that does not exist, so that it is loaded. */
  void warmUp() throws IOException {
    Ptrace nobody = new Ptrace(Integer.MAX_VALUE);
    xstate.putLong(464, 3);
    frame.compose(registers, xstate, 832, 0, code.restorer());
    SignalFrame.obstacle(registers);
    Action[] actions = {
      nobody::seize,
      nobody::interrupt,
      nobody::await,
      () -> nobody.getRegisters(registers),
      () -> nobody.setRegisters(registers),
      () -> nobody.getXstate(xstate),
      nobody::getSignalMask,
      nobody::getRseqAddress,
      () -> nobody.atExitOf(0, 0),
      () -> nobody.resume(0),
      () -> nobody.resumeToSystemCall(0),
      () -> nobody.detach(0),
      () -> memory.write(16, frame.bytes().clear().limit(8)),
    };
    for (Action action : actions) {
      try {
        action.run();
      } catch (ErrnoException e) {
        // ESRCH, ECHILD or EFAULT, as meant
        obstacle = e.getMessage();
      }
    }
  }

  private interface Action {
    void run() throws IOException;
  }
}
