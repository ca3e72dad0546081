package org.understudy.testbed;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.understudy.testbed.GuestImages.Image;
import org.understudy.testbed.GuestImages.Qemu;

/**
 * A real QEMU process (TCG, no display) with one of the test guests, its QMP socket and its serial
 * port in a folder of its own. {@link #close} kills the process and deletes the folder.
 */
public final class QemuGuest implements AutoCloseable {
  private final Builder builder;
  private final Path folder;
  private final Process process;
  private final SerialLog serial;
  private final Qmp qmp;
  private final Thread atExit = new Thread(this::end, "qemu-end");

  private QemuGuest(Builder builder, boolean standby) throws IOException {
    this.builder = builder;
    folder = Files.createTempDirectory("us-qemu");
    serial = new SerialLog(folder.resolve("serial"));
    Process started = null;
    try {
      List<String> command = builder.command(folder, standby);
      Files.writeString(folder.resolve("command"), String.join(" ", command));
      started =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(folder.resolve("output").toFile())
              .start();
      process = started;
      Runtime.getRuntime().addShutdownHook(atExit);
      qmp = connect();
    } catch (IOException | RuntimeException failure) {
      if (started != null) {
        started.destroyForcibly();
        Runtime.getRuntime().removeShutdownHook(atExit);
      }
      delete(folder);
      throw failure;
    }
  }

  public static Builder builder(Image image) {
    return new Builder(image);
  }

  /** Starts a QEMU of the same arguments, paused with {@code -S -incoming defer}, as a standby. */
  public QemuGuest startStandby() throws IOException {
    return new QemuGuest(builder, true);
  }

  /** The process id of QEMU. */
  public int pid() {
    return (int) process.pid();
  }

  public Process process() {
    return process;
  }

  /** The connection made at start; further ones by {@link Qmp#connect} to {@link #qmpSocket2}. */
  public Qmp qmp() {
    return qmp;
  }

  /**
   * The socket of the first QMP monitor, which {@link #qmp()} occupies (QEMU serves one client a
   * socket).
   */
  public Path qmpSocket() {
    return folder.resolve("qmp");
  }

  /** The socket of a second, free QMP monitor. */
  public Path qmpSocket2() {
    return folder.resolve("qmp2");
  }

  /**
   * The guest's folder: serial, output, qmp, qmp2, OVMF variables. Short enough for more UNIX
   * sockets.
   */
  public Path folder() {
    return folder;
  }

  public SerialLog serial() {
    return serial;
  }

  /** What QEMU printed. */
  public String output() throws IOException {
    return Files.readString(folder.resolve("output"));
  }

  /** Waits until the guest's program says that it is ready. */
  public QemuGuest awaitReady() throws IOException, TimeoutException, InterruptedException {
    serial.await(builder.image.program() + " ready", Duration.ofMinutes(3));
    return this;
  }

  /** Kills QEMU with SIGKILL and waits for its end; the files stay until {@link #close}. */
  public void kill() {
    process.destroyForcibly();
    try {
      if (!process.waitFor(30, TimeUnit.SECONDS)) {
        throw new IllegalStateException("QEMU " + pid() + " did not end within 30 s of SIGKILL");
      }
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() throws IOException {
    Runtime.getRuntime().removeShutdownHook(atExit);
    qmp.close();
    kill();
    delete(folder);
  }

  /** The last resort, when the JVM ends before {@link #close}. */
  private void end() {
    process.destroyForcibly();
    try {
      delete(folder);
    } catch (IOException leftBehind) {
      System.err.println("left behind: " + folder + ": " + leftBehind);
    }
  }

  private Qmp connect() throws IOException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (true) {
      if (!process.isAlive()) {
        throw new IOException("QEMU exited " + process.exitValue() + " at its start: " + output());
      }
      try {
        return Qmp.connect(qmpSocket());
      } catch (IOException notYet) {
        if (System.nanoTime() > end) {
          throw new IOException("no QMP at " + qmpSocket() + " within 30 s", notYet);
        }
      }
      try {
        Thread.sleep(10);
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
        throw new IOException("interrupted while QEMU started", interrupted);
      }
    }
  }

  private static void delete(Path folder) throws IOException {
    try (var files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    }
  }

  /**
   * What the guest's machine has. The defaults: 256 MiB, 1 vCPU, pc-q35-7.2, SeaBIOS, no device but
   * the serial port.
   */
  public static final class Builder {
    private final Image image;
    private final List<String> devices = new ArrayList<>();
    private Qemu qemu = GuestImages.defaultQemu();
    private int memoryMib = 256;
    private int vcpus = 1;
    private String machine = "pc-q35-7.2";
    private String cpu = "qemu64,+rdrand";
    private String kernelArguments = "";
    private boolean uefi;

    private Builder(Image image) {
      this.image = image;
    }

    public Builder qemu(Qemu value) {
      qemu = value;
      return this;
    }

    public Builder memoryMib(int value) {
      memoryMib = value;
      return this;
    }

    public Builder vcpus(int value) {
      vcpus = value;
      return this;
    }

    /** A versioned machine type, such as {@code pc-q35-7.2} or {@code pc-i440fx-7.2}. */
    public Builder machine(String value) {
      machine = value;
      return this;
    }

    public Builder cpu(String value) {
      cpu = value;
      return this;
    }

    /** Boots through OVMF, from copies of its code and variables as flash. */
    public Builder uefi() {
      uefi = true;
      return this;
    }

    /** Adds words to the kernel's command line, such as {@code proof.size=128 proof.rate=32}. */
    public Builder kernel(String words) {
      kernelArguments += " " + words;
      return this;
    }

    public Builder vga() {
      return extra("-vga", "std");
    }

    public Builder balloon() {
      return extra("-device", "virtio-balloon-pci,id=balloon0");
    }

    /**
     * A virtio-net interface on a network that reaches nothing but QEMU itself, and the guest's
     * chatter on it.
     */
    public Builder network() {
      kernel("net=1");
      return extra(
          "-netdev",
          "user,id=net0,restrict=on",
          "-device",
          "virtio-net-pci,netdev=net0,mac=52:54:00:77:00:01");
    }

    /**
     * A read-only virtio-blk disk of {@link GuestImages#disk}, read with O_DIRECT, without the
     * host's page cache.
     */
    public Builder directDisk(int mib) {
      kernel("io=direct");
      return extra(
          "-drive",
          "file="
              + GuestImages.disk(mib)
              + ",if=none,id=disk0,format=raw,readonly=on,cache=none,aio=threads",
          "-device",
          "virtio-blk-pci,drive=disk0,id=virtio-disk0");
    }

    /** Adds arguments of QEMU; a standby gets them, too. */
    public Builder extra(String... arguments) {
      devices.addAll(List.of(arguments));
      return this;
    }

    /** Starts QEMU; the guest boots at once. Fails with QEMU's output if it exits. */
    public QemuGuest start() throws IOException {
      return new QemuGuest(this, false);
    }

    private List<String> command(Path folder, boolean standby) throws IOException {
      List<String> command = new ArrayList<>();
      command.add(qemu.binary().toString());
      command.addAll(qemu.arguments());
      command.addAll(
          List.of(
              "-accel",
              "tcg",
              "-nodefaults",
              "-no-user-config",
              "-display",
              "none",
              "-machine",
              machine,
              "-cpu",
              cpu,
              "-m",
              memoryMib + "M",
              "-smp",
              Integer.toString(vcpus),
              "-kernel",
              image.kernel().toString(),
              "-initrd",
              image.initrd().toString(),
              "-append",
              "console=ttyS0 quiet" + kernelArguments,
              "-chardev",
              "file,id=serial0,path=" + folder.resolve("serial"),
              "-serial",
              "chardev:serial0",
              "-qmp",
              "unix:" + folder.resolve("qmp") + ",server=on,wait=off",
              "-qmp",
              "unix:" + folder.resolve("qmp2") + ",server=on,wait=off"));
      if (uefi) {
        Path firmware = Path.of("/usr/share/OVMF");
        Files.copy(firmware.resolve("OVMF_CODE_4M.fd"), folder.resolve("code.fd"));
        Files.copy(firmware.resolve("OVMF_VARS_4M.fd"), folder.resolve("vars.fd"));
        command.addAll(
            List.of(
                "-drive",
                    "if=pflash,unit=0,format=raw,readonly=on,file=" + folder.resolve("code.fd"),
                "-drive", "if=pflash,unit=1,format=raw,file=" + folder.resolve("vars.fd")));
      }
      command.addAll(devices);
      if (standby) {
        command.addAll(List.of("-S", "-incoming", "defer"));
      }
      return command;
    }
  }
}
