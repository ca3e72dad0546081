package org.understudy.capture;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.GuestImages.Found;
import org.understudy.testbed.GuestImages.Qemu;

/** A QEMU of the test's own, ended with it. */
final class TestGuest implements AutoCloseable {
  static final Path PROGRAM = GuestImages.defaultQemu().binary();

  /** The QEMUs to try: this machine's, and 10.0 where it could be had. */
  static Stream<Named<Qemu>> qemus() {
    Found<Qemu> newer = GuestImages.qemu10();
    if (!newer.present()) {
      System.out.println("without QEMU 10.0: " + newer.reason());
      return Stream.of(Named.of("default", GuestImages.defaultQemu()));
    }
    return Stream.of(
        Named.of("default", GuestImages.defaultQemu()), Named.of("10.0", newer.value()));
  }

  final Process process;
  final QmpSocket monitor;

  /** A monitor that nobody has connected to yet. */
  final Path secondSocket;

  private final Path folder;

  TestGuest(Path folder, String... arguments) throws IOException {
    this(GuestImages.defaultQemu(), folder, arguments);
  }

  TestGuest(Qemu qemu, Path folder, String... arguments) throws IOException {
    this.folder = folder;
    Path socket = folder.resolve("qmp");
    secondSocket = folder.resolve("qmp2");
    List<String> line = new ArrayList<>();
    line.add(qemu.binary().toString());
    line.addAll(qemu.arguments());
    line.addAll(
        List.of(
            "-accel",
            "tcg",
            "-display",
            "none",
            "-nodefaults",
            "-qmp",
            "unix:" + socket + ",server=on,wait=off",
            "-qmp",
            "unix:" + secondSocket + ",server=on,wait=off"));
    line.addAll(List.of(arguments));
    Path log = folder.resolve("qemu.log");
    process =
        new ProcessBuilder(line).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    while (!Files.exists(secondSocket)) {
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
