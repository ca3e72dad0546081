package org.understudy.capture;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A QEMU of the test's own, ended with it. */
final class TestGuest implements AutoCloseable {
  static final Path PROGRAM =
      Path.of(System.getProperty("understudy.qemu", "/usr/bin/qemu-system-x86_64"));

  final Process process;
  final QmpSocket monitor;
  private final Path folder;

  TestGuest(Path folder, String... arguments) throws IOException {
    this.folder = folder;
    Path socket = Path.of("/tmp", "us-" + ProcessHandle.current().pid() + "-" + System.nanoTime());
    List<String> line =
        new ArrayList<>(
            List.of(
                PROGRAM.toString(),
                "-accel",
                "tcg",
                "-display",
                "none",
                "-nodefaults",
                "-qmp",
                "unix:" + socket + ",server=on,wait=off"));
    line.addAll(List.of(arguments));
    Path log = folder.resolve("qemu.log");
    process =
        new ProcessBuilder(line).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    while (!Files.exists(socket)) {
      if (!process.isAlive() || System.nanoTime() > deadline) {
        process.destroyForcibly();
        throw new IOException("QEMU did not start: " + Files.readString(log));
      }
      Thread.onSpinWait();
    }
    QmpSocket connected = null;
    while (connected == null) {
      try {
        connected = new QmpSocket(socket);
      } catch (IOException notYet) {
        if (!process.isAlive() || System.nanoTime() > deadline) {
          process.destroyForcibly();
          throw notYet;
        }
      }
    }
    monitor = connected;
    Files.delete(socket);
  }

  int pid() {
    return Math.toIntExact(process.pid());
  }

  /** Numbers and targets of QEMU's open descriptors. */
  List<String> descriptors() throws IOException {
    try (var list = Files.list(Path.of("/proc/" + pid() + "/fd"))) {
      List<String> found = new ArrayList<>();
      for (Path fd : list.toList()) {
        found.add(fd.getFileName() + " " + Files.readSymbolicLink(fd));
      }
      return found;
    }
  }

  /** What QEMU printed. */
  String output() {
    try {
      return Files.readString(folder.resolve("qemu.log")).strip();
    } catch (IOException e) {
      return e.toString();
    }
  }

  @Override
  public void close() {
    monitor.close();
    process.destroyForcibly();
    process.onExit().join();
  }
}
