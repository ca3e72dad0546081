package org.understudy.linux;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * One thread of another process under ptrace(2), attached with PTRACE_SEIZE. All calls for a tracee
 * come from the thread that seized it; its death, or the end of our process, lets the tracee go
 * from wherever it is. PTRACE_O_TRACESYSGOOD is always set, and matters: without it a tracee whose
 * tracer dies in a system call stop is sent SIGTRAP, which kills it.
 */
public final class Ptrace {
  /** Bytes of struct user_regs_struct. */
  public static final int REGISTERS_BYTES = 27 * 8;

  /** Room for the largest extended state of x86-64 known, tiles included. */
  public static final int XSTATE_BYTES = 16 * 1024;

  // Offsets of struct user_regs_struct (arch/x86/include/asm/user_64.h).
  public static final int R15 = 0;
  public static final int R14 = 8;
  public static final int R13 = 16;
  public static final int R12 = 24;
  public static final int RBP = 32;
  public static final int RBX = 40;
  public static final int R11 = 48;
  public static final int R10 = 56;
  public static final int R9 = 64;
  public static final int R8 = 72;
  public static final int RAX = 80;
  public static final int RCX = 88;
  public static final int RDX = 96;
  public static final int RSI = 104;
  public static final int RDI = 112;
  public static final int ORIG_RAX = 120;
  public static final int RIP = 128;
  public static final int CS = 136;
  public static final int EFLAGS = 144;
  public static final int RSP = 152;
  public static final int SS = 160;

  private static final int PTRACE_CONT = 7;
  private static final int PTRACE_GETREGS = 12;
  private static final int PTRACE_SETREGS = 13;
  private static final int PTRACE_DETACH = 17;
  private static final int PTRACE_SYSCALL = 24;
  private static final int PTRACE_GETREGSET = 0x4204;
  private static final int PTRACE_SEIZE = 0x4206;
  private static final int PTRACE_INTERRUPT = 0x4207;
  private static final int PTRACE_GETSIGMASK = 0x420a;
  private static final int PTRACE_GET_SYSCALL_INFO = 0x420e;
  private static final int PTRACE_GET_RSEQ_CONFIGURATION = 0x420f;
  private static final int PTRACE_O_TRACESYSGOOD = 1;
  private static final int PTRACE_EVENT_STOP = 128;
  private static final int NT_X86_XSTATE = 0x202;
  private static final int WALL = 0x40000000;
  private static final int SIGTRAP = 5;
  private static final int PTRACE_SYSCALL_INFO_EXIT = 2;

  /** What {@link #await} saw. */
  public enum Stop {
    /** The stop asked for with {@link #interrupt}. */
    INTERRUPTED,
    /** The whole process is stopped by a signal such as SIGSTOP. */
    GROUP,
    /** A signal is about to be delivered; {@link #signal} names it. */
    SIGNAL,
    /** Entry to or exit from a system call. */
    SYSTEM_CALL,
    /** The thread has ended. */
    ENDED
  }

  private final int tid;
  private final ByteBuffer scratch = Kernel.allocate(128);
  private final long scratchAddress = Kernel.addressOf(scratch);
  private int signal;

  /** Thread {@code tid}; nothing happens yet. */
  public Ptrace(int tid) {
    this.tid = tid;
  }

  /** The thread id. */
  public int tid() {
    return tid;
  }

  /** Attaches without stopping the thread. ESRCH: it has ended; EPERM: not allowed, or traced. */
  public void seize() throws IOException {
    call(PTRACE_SEIZE, 0, PTRACE_O_TRACESYSGOOD, "seizing");
  }

  /** Asks the running thread to stop; await the stop. */
  public void interrupt() throws IOException {
    call(PTRACE_INTERRUPT, 0, 0, "interrupting");
  }

  /** Waits without limit for the next stop or the end of the thread. */
  public Stop await() throws IOException {
    ErrnoException.check(
        Kernel.restarted(Kernel.WAIT4, tid, scratchAddress, WALL), "waiting for thread " + tid);
    int status = scratch.getInt(0);
    if ((status & 0xff) != 0x7f) {
      return Stop.ENDED;
    }
    signal = status >> 8 & 0xff;
    if (status >> 16 == PTRACE_EVENT_STOP) {
      return signal == SIGTRAP ? Stop.INTERRUPTED : Stop.GROUP;
    }
    return signal == (SIGTRAP | 0x80) ? Stop.SYSTEM_CALL : Stop.SIGNAL;
  }

  /** Signal number of the last stop. */
  public int signal() {
    return signal;
  }

  /** Reads the general registers into {@link #REGISTERS_BYTES} bytes from index 0. */
  public void getRegisters(ByteBuffer registers) throws IOException {
    call(PTRACE_GETREGS, 0, Kernel.addressOf(registers), "reading the registers of");
  }

  /** Sets the general registers, all in one step. */
  public void setRegisters(ByteBuffer registers) throws IOException {
    call(PTRACE_SETREGS, 0, Kernel.addressOf(registers), "setting the registers of");
  }

  /**
   * Reads the floating-point and vector state, in XSAVE's standard format, from index 0 of a direct
   * buffer of {@link #XSTATE_BYTES}.
   *
   * @return its length in bytes
   */
  public int getXstate(ByteBuffer xstate) throws IOException {
    scratch.putLong(0, Kernel.addressOf(xstate)).putLong(8, xstate.capacity());
    call(PTRACE_GETREGSET, NT_X86_XSTATE, scratchAddress, "reading the vector state of");
    return (int) scratch.getLong(8);
  }

  /** The thread's signal mask, as it will be once an interrupted system call is over. */
  public long getSignalMask() throws IOException {
    call(PTRACE_GETSIGMASK, 8, scratchAddress, "reading the signal mask of");
    return scratch.getLong(0);
  }

  /** Address of the thread's registered struct rseq, or 0. */
  public long getRseqAddress() throws IOException {
    scratch.putLong(0, 0);
    long result =
        Kernel.call(Kernel.PTRACE, PTRACE_GET_RSEQ_CONFIGURATION, tid, 24, scratchAddress);
    if (result == -Errno.EIO || result == -Errno.EINVAL) {
      return 0; // a kernel that cannot say (before 5.13, or without CONFIG_RSEQ)
    }
    ErrnoException.check(result, "asking for the rseq area of thread " + tid);
    return scratch.getLong(0);
  }

  /**
   * In a system call stop: whether it is the exit from a call whose instruction ends at {@code ip}
   * with stack pointer {@code sp}. Then {@link #systemCallResult} has its result.
   */
  public boolean atExitOf(long ip, long sp) throws IOException {
    // struct ptrace_syscall_info: u8 op, u32 arch at 4, u64 ip at 8, u64 sp at 16, s64 rval at 24.
    call(PTRACE_GET_SYSCALL_INFO, 128, scratchAddress, "asking for the system call of");
    return scratch.get(0) == PTRACE_SYSCALL_INFO_EXIT
        && scratch.getLong(8) == ip
        && scratch.getLong(16) == sp;
  }

  /** Result of the call that {@link #atExitOf} recognised; negative: minus the errno. */
  public long systemCallResult() {
    return scratch.getLong(24);
  }

  /** Lets the thread go on, delivering {@code signal} unless 0. */
  public void resume(int signal) throws IOException {
    call(PTRACE_CONT, 0, signal, "resuming");
  }

  /** As {@link #resume}, up to the next entry to or exit from a system call. */
  public void resumeToSystemCall(int signal) throws IOException {
    call(PTRACE_SYSCALL, 0, signal, "resuming");
  }

  /** Lets the stopped thread go for good, delivering {@code signal} unless 0. */
  public void detach(int signal) throws IOException {
    call(PTRACE_DETACH, 0, signal, "detaching from");
  }

  private void call(int request, long address, long data, String verb) throws IOException {
    long result = Kernel.call(Kernel.PTRACE, request, tid, address, data);
    if (result < 0) {
      throw new ErrnoException(verb + " thread " + tid, (int) -result);
    }
  }
}
