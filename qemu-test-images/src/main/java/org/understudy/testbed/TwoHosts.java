package org.understudy.testbed;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Two hosts on this machine with real libvirt daemons, by {@code two-hosts.sh}; its first lines
 * tell what they have. Needs root: ask {@link #unavailable} first. {@link #close} ends everything
 * that runs in them; so does the JVM's orderly end.
 */
public final class TwoHosts implements AutoCloseable {

  /**
   * One of the two. Addresses are those of the first and of the second cable, unless the
   * environment moves them.
   */
  public enum Host {
    A("a", "10.77.0.1", "10.78.0.1"),
    B("b", "10.77.0.2", "10.78.0.2");

    private final String letter;
    private final String address;
    private final String secondAddress;

    Host(String letter, String address, String secondAddress) {
      this.letter = letter;
      this.address = address;
      this.secondAddress = secondAddress;
    }

    public String letter() {
      return letter;
    }

    public String address() {
      return address;
    }

    public String secondAddress() {
      return secondAddress;
    }
  }

  /** A command's exit status and what it printed, standard error included. */
  public record Result(List<String> command, int status, String output) {
    /** The output, or an exception with it if the command failed. */
    public String orThrow() {
      if (status != 0) {
        throw new IllegalStateException(
            String.join(" ", command) + " exited " + status + ": " + output.strip());
      }
      return output;
    }
  }

  private final Path folder;
  private final Thread atExit = new Thread(this::end, "two-hosts-down");

  private TwoHosts(Path folder) {
    this.folder = folder;
  }

  /** Why this machine cannot have two hosts, or empty. */
  public static Optional<String> unavailable() {
    if (!"root".equals(System.getProperty("user.name"))) {
      return Optional.of("two hosts need root, the user is " + System.getProperty("user.name"));
    }
    for (String program : List.of("/usr/sbin/libvirtd", "/usr/sbin/virtlogd", "/usr/bin/nsenter")) {
      if (!Files.isExecutable(Path.of(program))) {
        return Optional.of("two hosts need " + program);
      }
    }
    return Optional.empty();
  }

  /** Starts both in a new temporary folder; takes about 2 s. */
  public static TwoHosts up() throws IOException {
    return up(Files.createTempDirectory("us-hosts"));
  }

  /** Starts both in {@code folder}, after ending what an earlier run may have left there. */
  public static TwoHosts up(Path folder) throws IOException {
    TwoHosts hosts = new TwoHosts(folder);
    hosts.script("down").orThrow();
    Runtime.getRuntime().addShutdownHook(hosts.atExit);
    try {
      hosts.script("up").orThrow();
    } catch (IOException | RuntimeException failure) {
      hosts.close();
      throw failure;
    }
    return hosts;
  }

  public Path folder() {
    return folder;
  }

  /**
   * Where the host's {@code /run}, {@code /etc/libvirt} ("etc"), {@code /var/lib/libvirt} ("lib") …
   * lie outside of it.
   */
  public Path outside(Host host, String... names) {
    return folder.resolve(host.letter).resolve(Path.of("", names));
  }

  /** A libvirt URI for the host's daemon that works outside of the host, too. */
  public String uri(Host host) {
    return "qemu:///system?socket=" + outside(host, "run", "libvirt", "libvirt-sock");
  }

  /** Runs a command in a host, waits for its end, and returns whatever came of it. */
  public Result exec(Host host, String... command) throws IOException {
    return run(execBuilder(host, command));
  }

  /** A command in a host that the caller starts; its process id is that of the command itself. */
  public ProcessBuilder execBuilder(Host host, String... command) {
    List<String> words =
        new ArrayList<>(List.of(scriptPath(), "exec", folder.toString(), host.letter));
    words.addAll(List.of(command));
    return new ProcessBuilder(words);
  }

  /** Runs virsh in a host, and fails with its words if it does. */
  public String virsh(Host host, String... words) throws IOException {
    List<String> command = new ArrayList<>(List.of("virsh", "-q", "-c", "qemu:///system"));
    command.addAll(List.of(words));
    return exec(host, command.toArray(String[]::new)).orThrow().strip();
  }

  /** Defines a domain on a host and starts it. */
  public void start(Host host, Domain domain) throws IOException {
    define(host, domain);
    virsh(host, "start", domain.name());
  }

  public void define(Host host, Domain domain) throws IOException {
    Path xml = Files.writeString(outside(host, domain.name() + ".xml"), domain.xml());
    virsh(host, "define", xml.toString());
  }

  /**
   * The serial port of a domain on a host. It goes on in the same file when the domain starts
   * again.
   */
  public SerialLog serial(Host host, String domain) {
    return new SerialLog(outside(host, "lib", "serial", domain + ".log"));
  }

  /** The process id of a domain's QEMU, the same inside and outside of the host. */
  public int qemuPid(Host host, String domain) throws IOException {
    Path file = outside(host, "run", "libvirt", "qemu", domain + ".pid");
    if (!Files.exists(file)) {
      throw new IOException(
          "domain " + domain + " does not run on host " + host.letter + ": no " + file);
    }
    return Integer.parseInt(Files.readString(file).strip());
  }

  /**
   * Waits until virsh tells this state of a domain, such as {@code running} or {@code shut off}.
   */
  public void awaitState(Host host, String domain, String state, Duration deadline)
      throws IOException, TimeoutException, InterruptedException {
    long end = System.nanoTime() + deadline.toNanos();
    while (true) {
      String now = virsh(host, "domstate", domain);
      if (now.equals(state)) {
        return;
      }
      if (System.nanoTime() > end) {
        throw new TimeoutException(
            domain
                + " on host "
                + host.letter
                + " is \""
                + now
                + "\", expected \""
                + state
                + "\" within "
                + deadline.toMillis()
                + " ms");
      }
      Thread.sleep(20);
    }
  }

  /**
   * Does something to the first cable: "down", "up", "delay" "5" or "rate" "100" (see the script).
   */
  public void link(String... words) throws IOException {
    script("link", words).orThrow();
  }

  /** Does something to the second cable. */
  public void second(String... words) throws IOException {
    script("second", words).orThrow();
  }

  @Override
  public void close() throws IOException {
    Runtime.getRuntime().removeShutdownHook(atExit);
    script("down").orThrow();
  }

  private void end() {
    try {
      script("down").orThrow();
    } catch (IOException | RuntimeException failure) {
      System.err.println("left behind: " + folder + ": " + failure);
    }
  }

  private static String scriptPath() {
    return GuestImages.repositoryRoot().resolve("qemu-test-images/two-hosts.sh").toString();
  }

  private Result script(String command, String... words) throws IOException {
    List<String> all = new ArrayList<>(List.of(scriptPath(), command, folder.toString()));
    all.addAll(List.of(words));
    return run(new ProcessBuilder(all));
  }

  private static Result run(ProcessBuilder builder) throws IOException {
    Process process = builder.redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    try {
      if (!process.waitFor(120, TimeUnit.SECONDS)) {
        process.destroyForcibly();
        throw new IOException(builder.command() + " did not end within 120 s: " + output);
      }
    } catch (InterruptedException interrupted) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
      throw new IOException(builder.command() + ": interrupted", interrupted);
    }
    return new Result(builder.command(), process.exitValue(), output);
  }
}
