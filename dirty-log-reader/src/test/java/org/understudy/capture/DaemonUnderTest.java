package org.understudy.capture;

import java.io.IOException;
import java.nio.file.Path;
import org.understudy.dirtylog.DirtyLog;
import org.understudy.guard.GuardClient;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;

/**
 * A daemon for tests to kill: captures one epoch and hangs where it is told to, after saying so.
 * Arguments: QMP socket, QEMU's process id, guard's socket, and where to hang: {@code sent} (the
 * command is sent), {@code paused} (inside the pause) or {@code never}.
 */
public final class DaemonUnderTest {
  private DaemonUnderTest() {}

  /** Prints {@code READY}, waits for a line, captures, prints the outcome. */
  public static void main(String[] arguments) throws IOException {
    try (QmpSocket monitor = new QmpSocket(Path.of(arguments[0]));
        GuardClient guard = GuardClient.attach(Path.of(arguments[2]))) {
      GuestMapping mapping = RamMap.survey(monitor, Integer.parseInt(arguments[1]));
      String where = arguments[3];
      GuestMonitor watched = where.equals("sent") ? new HangAfterSending(monitor) : monitor;
      DirtyLog log = new HangInPause(where.equals("paused"));
      CaptureSettings settings = CaptureSettings.ofSlab(64 << 20);
      try (EpochCapture capture = new EpochCapture(watched, mapping, log, guard, settings)) {
        System.out.println("READY");
        System.in.read();
        System.out.println(capture.captureInto(new ImageSink(mapping.layout()), 1));
      }
    }
    System.out.flush();
    Runtime.getRuntime().halt(0);
  }

  private static void hang(String where) {
    System.out.println(where);
    System.out.flush();
    try {
      Thread.sleep(Long.MAX_VALUE);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Nothing is marked by it: the first epoch holds every page anyway. */
  private record HangInPause(boolean hangs) implements DirtyLog {
    @Override
    public String method() {
      return "none";
    }

    @Override
    public void look(PageSet into) {}

    @Override
    public void rearm(PageSet into) {
      if (hangs) {
        hang("PAUSED");
      }
    }

    @Override
    public void close() {}
  }

  private record HangAfterSending(QmpSocket monitor) implements GuestMonitor {
    @Override
    public String humanCommand(String line) throws IOException {
      return monitor.humanCommand(line);
    }

    @Override
    public PassedDescriptor addDescriptor(int fd) throws IOException {
      return monitor.addDescriptor(fd);
    }

    @Override
    public void removeDescriptor(PassedDescriptor descriptor) throws IOException {
      monitor.removeDescriptor(descriptor);
    }

    @Override
    public void saveDevicesState(String path) throws IOException {
      System.out.println("SENDING");
      System.in.read(); // QEMU is stopped by the test meanwhile
      monitor.afterSend =
          () -> {
            System.out.println("SENT");
            System.out.flush();
          };
      monitor.saveDevicesState(path);
    }

    @Override
    public String status() throws IOException {
      return monitor.status();
    }
  }
}
