package org.understudy.dirtylog;

import static org.understudy.linux.Ptrace.CS;
import static org.understudy.linux.Ptrace.EFLAGS;
import static org.understudy.linux.Ptrace.ORIG_RAX;
import static org.understudy.linux.Ptrace.R10;
import static org.understudy.linux.Ptrace.R11;
import static org.understudy.linux.Ptrace.R12;
import static org.understudy.linux.Ptrace.R13;
import static org.understudy.linux.Ptrace.R14;
import static org.understudy.linux.Ptrace.R15;
import static org.understudy.linux.Ptrace.R8;
import static org.understudy.linux.Ptrace.R9;
import static org.understudy.linux.Ptrace.RAX;
import static org.understudy.linux.Ptrace.RBP;
import static org.understudy.linux.Ptrace.RBX;
import static org.understudy.linux.Ptrace.RCX;
import static org.understudy.linux.Ptrace.RDI;
import static org.understudy.linux.Ptrace.RDX;
import static org.understudy.linux.Ptrace.RIP;
import static org.understudy.linux.Ptrace.RSI;
import static org.understudy.linux.Ptrace.RSP;
import static org.understudy.linux.Ptrace.SS;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.understudy.linux.Ptrace;

/**
 * The frame that the kernel pushes onto a thread's stack when it delivers a signal (struct
 * rt_sigframe, arch/x86/include/asm/sigframe.h), written by us instead: whoever executes
 * rt_sigreturn(2) with the stack pointer just above it is back in the state that it describes. A
 * thread sent off with such a frame on its stack finds its own way home, whatever becomes of us.
 */
final class SignalFrame {
  private static final int RED_ZONE = 128;
  private static final int XSTATE_ALIGNMENT = 64; // XRSTOR faults on less

  // struct rt_sigframe: pretcode, struct ucontext, struct siginfo.
  private static final int UCONTEXT = 8;
  private static final int FRAME_BYTES = 8 + 304 + 128;
  // struct ucontext: uc_flags, uc_link, uc_stack {sp, flags, size}, uc_mcontext, uc_sigmask.
  private static final int UC_STACK_FLAGS = UCONTEXT + 24;
  private static final int SIGCONTEXT = UCONTEXT + 40;
  private static final int UC_SIGMASK = UCONTEXT + 296;
  private static final long UC_FP_XSTATE = 1;
  private static final long UC_SIGCONTEXT_SS = 2;
  private static final long UC_STRICT_RESTORE_SS = 4;
  // struct sigcontext_64 after the 18 registers.
  private static final int SC_CS = SIGCONTEXT + 144;
  private static final int SC_SS = SIGCONTEXT + 150;
  private static final int SC_FPSTATE = SIGCONTEXT + 184;

  /** Registers in the order of struct sigcontext_64, from r8 to eflags. */
  private static final int[] SIGCONTEXT_ORDER = {
    R8, R9, R10, R11, R12, R13, R14, R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, EFLAGS
  };

  // struct _fpx_sw_bytes inside the legacy area, and the XSAVE header after it.
  private static final int SW_BYTES = 464;
  private static final int XSTATE_BV = 512;
  private static final int MIN_XSTATE_BYTES = 576;
  private static final int FP_XSTATE_MAGIC1 = 0x46505853;
  private static final int FP_XSTATE_MAGIC2 = 0x46505845;
  private static final long FEATURE_PKRU = 1 << 9;
  private static final long FEATURE_TILE_DATA = 1 << 18;
  private static final int TILE_DATA_OFFSET = 2816;
  private static final int TILE_DATA_BYTES = 8192;

  private static final long USER_CODE_64 = 0x33;
  private static final long ERESTART_RESTARTBLOCK = -516;

  private final ByteBuffer bytes =
      ByteBuffer.allocateDirect(FRAME_BYTES + Ptrace.XSTATE_BYTES + 256)
          .order(ByteOrder.nativeOrder());
  private long stackPointer;

  /**
   * Why a thread in this state cannot be sent elsewhere now, or null if it can.
   *
   * @param registers struct user_regs_struct from index 0
   */
  static String obstacle(ByteBuffer registers) {
    if (registers.getLong(CS) != USER_CODE_64) {
      return "it runs 32-bit code";
    }
    // Only the kernel can resume such a call (nanosleep, a wait with a timeout), and only directly
    // after the stop; rt_sigreturn would turn it into EINTR.
    if (registers.getLong(ORIG_RAX) >= 0 && registers.getLong(RAX) == ERESTART_RESTARTBLOCK) {
      return "it is in a timed wait that only the kernel can resume";
    }
    return null;
  }

  /**
   * Composes the frame of a stopped thread.
   *
   * @param registers struct user_regs_struct from index 0
   * @param xstate XSAVE area in standard format from index 0, as PTRACE_GETREGSET gives it
   * @param xstateBytes its length
   * @param signalMask the mask to go back to
   * @param restorer address of code that does rt_sigreturn: the frame's return address
   */
  void compose(
      ByteBuffer registers, ByteBuffer xstate, int xstateBytes, long signalMask, long restorer) {
    if (xstateBytes < MIN_XSTATE_BYTES) {
      throw new IllegalArgumentException("vector state of " + xstateBytes + " bytes");
    }
    long features = xstate.getLong(SW_BYTES); // the kernel puts XCR0's user features there
    long inUse = xstate.getLong(XSTATE_BV);
    int length = xstateBytes;
    if ((features & FEATURE_TILE_DATA) != 0
        && (inUse & FEATURE_TILE_DATA) == 0
        && length == TILE_DATA_OFFSET + TILE_DATA_BYTES) {
      // A task that never used tiles has a smaller state; the kernel ignores one that is larger.
      features &= ~FEATURE_TILE_DATA;
      length = TILE_DATA_OFFSET;
    }
    long top = registers.getLong(RSP) - RED_ZONE;
    long fpstate = (top - length - 4) & -XSTATE_ALIGNMENT;
    stackPointer = ((fpstate - FRAME_BYTES) & -16) - 8;
    int fp = (int) (fpstate - stackPointer);
    bytes.clear().limit(fp + length + 4);
    for (int i = 0; i < fp; i++) {
      bytes.put(i, (byte) 0);
    }
    bytes.putLong(0, restorer);
    bytes.putLong(UCONTEXT, UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS);
    // Flags no sigaltstack(2) takes: the thread's alternate stack, unknown to us, stays as it is.
    bytes.putInt(UC_STACK_FLAGS, 0x7fffffff);
    for (int i = 0; i < SIGCONTEXT_ORDER.length; i++) {
      bytes.putLong(SIGCONTEXT + 8 * i, registers.getLong(SIGCONTEXT_ORDER[i]));
    }
    bytes.putShort(SC_CS, (short) registers.getLong(CS));
    bytes.putShort(SC_SS, (short) registers.getLong(SS));
    bytes.putLong(SC_FPSTATE, fpstate);
    bytes.putLong(UC_SIGMASK, signalMask);
    restartSystemCall(registers);

    bytes.put(fp, xstate, 0, length);
    bytes.putInt(fp + SW_BYTES, FP_XSTATE_MAGIC1);
    bytes.putInt(fp + SW_BYTES + 4, length + 4);
    bytes.putLong(fp + SW_BYTES + 8, features);
    bytes.putInt(fp + SW_BYTES + 16, length);
    bytes.putInt(fp + SW_BYTES + 20, 0);
    // The kernel keeps protection keys apart from XSAVE: the value is right, the bit may be
    // missing.
    bytes.putLong(fp + XSTATE_BV, (inUse & features) | (features & FEATURE_PKRU));
    bytes.putLong(fp + XSTATE_BV + 8, 0); // standard format
    bytes.putInt(fp + length, FP_XSTATE_MAGIC2);
  }

  /**
   * A thread stopped inside a system call would have it restarted by the kernel on the way out;
   * rt_sigreturn does not, so the frame leads back to the call instruction.
   */
  private void restartSystemCall(ByteBuffer registers) {
    long result = registers.getLong(RAX);
    boolean interrupted = result == -512 || result == -513 || result == -514;
    if (registers.getLong(ORIG_RAX) >= 0 && interrupted) {
      bytes.putLong(SIGCONTEXT + 8 * 13, registers.getLong(ORIG_RAX));
      bytes.putLong(SIGCONTEXT + 8 * 16, registers.getLong(RIP) - 2);
    }
  }

  /** Address of the frame's first byte, the return address: the stack pointer to set. */
  long stackPointer() {
    return stackPointer;
  }

  /** The frame from its first byte: position 0 to limit. */
  ByteBuffer bytes() {
    return bytes;
  }
}
