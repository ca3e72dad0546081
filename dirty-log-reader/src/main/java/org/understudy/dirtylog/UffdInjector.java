package org.understudy.dirtylog;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.understudy.linux.Errno;
import org.understudy.linux.PidFd;
import org.understudy.linux.Userfaultfd;

/**
 * A program of its own that makes another process create a userfaultfd, lets its parent copy it,
 * and makes the process close it again. It may be killed at any time. The parent speaks with it in
 * lines:
 *
 * <pre>
 *   -> stopping            each time a thread is about to be stopped
 *   -> fd N US             descriptor N exists in the target, which stood still for US microseconds
 *   <- taken               the parent has its copy (or its death: end of file)
 *   -> closed US           nothing is left in the target
 *   -> error TEXT          instead of any of these
 * </pre>
 *
 * For tests the system property {@value #FAULT} names a phase, a step and what to do to ourselves
 * there: {@code create.RETURNED.kill} or {@code close.STOPPED.stop}.
 */
public final class UffdInjector {
  /** System property: phase {@code create} or {@code close}, step, {@code kill} or {@code stop}. */
  static final String FAULT = "understudy.injector.fault";

  private static final int SYS_CLOSE = 3;
  private static final long STOP_LIMIT_NS = 1_000_000_000L;

  private final int pid;
  private final PrintStream out;
  private final PidFd self;
  private final SystemCallInjection injection;
  private final String fault = System.getProperty(FAULT, "");
  private String phase = "clean";
  private volatile long stoppedSinceNs;

  private UffdInjector(int pid, PrintStream out) throws IOException {
    this.pid = pid;
    this.out = out;
    self = new PidFd((int) ProcessHandle.current().pid());
    injection = new SystemCallInjection(pid, this::at);
  }

  /** Takes the process id of the target. */
  public static void main(String[] arguments) throws IOException {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    try {
      BufferedReader in =
          new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
      new UffdInjector(Integer.parseInt(arguments[0]), out).run(in);
    } catch (IOException | RuntimeException e) {
      out.println("error " + e.toString().replace('\n', ' '));
      out.flush();
      Runtime.getRuntime().halt(1);
    }
    out.flush();
    Runtime.getRuntime().halt(0);
  }

  private void run(BufferedReader in) throws IOException {
    Thread watch = new Thread(this::haltIfTheTargetStandsTooLong, "stop-limit");
    watch.setDaemon(true);
    watch.start();
    self.signal(0);
    injection.warmUp();
    for (int fd : LeftoverUserfaultfds.in(pid)) {
      close(fd);
    }
    phase = "create";
    int fd = (int) injected(Userfaultfd.SYSTEM_CALL, Userfaultfd.FLAGS, "userfaultfd(2)");
    out.println("fd " + fd + " " + injection.stoppedNs() / 1000);
    String answer = in.readLine();
    if (answer != null && !answer.equals("taken")) {
      throw new IOException("told `" + answer + "`, expected `taken`");
    }
    phase = "close";
    close(fd);
    out.println("closed " + injection.stoppedNs() / 1000);
  }

  private void close(int fd) throws IOException {
    if (LeftoverUserfaultfds.isOurs(pid, fd)) {
      injected(SYS_CLOSE, fd, "close(" + fd + ")");
    }
  }

  private long injected(long number, long argument, String name) throws IOException {
    long result = injection.call(number, argument, 0);
    stoppedSinceNs = 0;
    if (result < 0) {
      throw new IOException(name + " in process " + pid + ": " + Errno.text((int) -result));
    }
    return result;
  }

  private void at(InjectionStep step) {
    if (step == InjectionStep.SEIZED) {
      out.println("stopping"); // the thread still runs
      stoppedSinceNs = System.nanoTime();
    }
    if (fault.isEmpty() || !fault.startsWith(phase + "." + step + ".")) {
      return;
    }
    try {
      self.signal(fault.endsWith(".kill") ? PidFd.SIGKILL : PidFd.SIGSTOP);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The end of this process sets the target free, wherever it is. */
  private void haltIfTheTargetStandsTooLong() {
    while (true) {
      java.util.concurrent.locks.LockSupport.parkNanos(50_000_000);
      long since = stoppedSinceNs;
      if (since != 0 && System.nanoTime() - since > STOP_LIMIT_NS) {
        Runtime.getRuntime().halt(3);
      }
    }
  }
}
