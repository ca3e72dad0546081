package org.understudy.testbed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The test guests' files, built by {@code build-guests.sh} on first use (about 10 s with the
 * packages' download) and kept in its cache. The first failure is remembered: later calls fail at
 * once with the same reason.
 */
public final class GuestImages {

  /** What a guest boots from; {@code program} is the word its serial lines begin with. */
  public record Image(String program, Path kernel, Path initrd) {}

  /** A QEMU program and the words that go before all other arguments. */
  public record Qemu(Path binary, List<String> arguments) {}

  /** Either a value or the reason there is none. */
  public record Found<T>(T value, String reason) {
    public boolean present() {
      return value != null;
    }
  }

  private static final Map<String, Found<Path>> BUILT = new ConcurrentHashMap<>();

  private GuestImages() {}

  /**
   * The guest whose pages are checked all the time: "proof ready", then "proof COUNTER ok SECONDS
   * pass=N" 12 times a second. Its command line is described in {@code guests/proof.c}.
   */
  public static Image proof() {
    return image("proof");
  }

  /**
   * Redis with a data set under load: "redis ready", then "redis last=K ok keys=N ops/s=R pass=P" 5
   * times a second. Its command line is described in {@code guests/redisload.c}.
   */
  public static Image redis() {
    return image("redis");
  }

  /**
   * A raw disk of {@code mib} MiB with the content that a guest with {@code io=direct} expects;
   * never write to it.
   */
  public static Path disk(int mib) {
    return required("disk", Integer.toString(mib));
  }

  /** What kernel and redis the guests have, and their files' SHA-256, one a line. */
  public static String versions() {
    try {
      return Files.readString(required().resolve("versions"));
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }

  /**
   * QEMU 10.0 of the release's backports, unpacked and not installed; or the reason it is not to be
   * had.
   */
  public static Found<Qemu> qemu10() {
    Found<Path> wrapper = built("qemu10");
    return wrapper.present()
        ? new Found<>(new Qemu(wrapper.value(), List.of()), null)
        : new Found<>(null, wrapper.reason());
  }

  /**
   * The QEMU that tests run: environment UNDERSTUDY_QEMU and UNDERSTUDY_QEMU_DATA (its -L folder),
   * or the PATH's.
   */
  public static Qemu defaultQemu() {
    String binary = System.getenv("UNDERSTUDY_QEMU");
    String data = System.getenv("UNDERSTUDY_QEMU_DATA");
    return new Qemu(
        Path.of(binary == null || binary.isEmpty() ? "/usr/bin/qemu-system-x86_64" : binary),
        data == null || data.isEmpty() ? List.of() : List.of("-L", data));
  }

  /**
   * The repository's root: property {@code understudy.root}, or the first folder upwards that has
   * this module.
   */
  public static Path repositoryRoot() {
    String property = System.getProperty("understudy.root");
    Path folder = Path.of(property == null ? "" : property).toAbsolutePath();
    for (Path at = folder; at != null; at = at.getParent()) {
      if (Files.exists(at.resolve("qemu-test-images/build-guests.sh"))) {
        return at;
      }
    }
    throw new IllegalStateException(
        "no qemu-test-images/build-guests.sh in " + folder + " or above; set -Dunderstudy.root");
  }

  private static Image image(String program) {
    Path folder = required();
    return new Image(program, folder.resolve("vmlinuz"), folder.resolve(program + ".initrd"));
  }

  private static Path required(String... arguments) {
    Found<Path> found = built(arguments);
    if (!found.present()) {
      throw new IllegalStateException(found.reason());
    }
    return found.value();
  }

  private static Found<Path> built(String... arguments) {
    return BUILT.computeIfAbsent(String.join(" ", arguments), key -> build(arguments));
  }

  private static Found<Path> build(String... arguments) {
    List<String> command = new ArrayList<>();
    command.add(repositoryRoot().resolve("qemu-test-images/build-guests.sh").toString());
    command.addAll(List.of(arguments));
    try {
      Path errors = Files.createTempFile("understudy-build", ".log");
      try {
        Process process = new ProcessBuilder(command).redirectError(errors.toFile()).start();
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        int status = process.waitFor();
        return status == 0
            ? new Found<>(Path.of(output.strip()), null)
            : new Found<>(
                null,
                String.join(" ", command)
                    + " exited "
                    + status
                    + ": "
                    + Files.readString(errors).strip());
      } finally {
        Files.deleteIfExists(errors);
      }
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while building guests", interrupted);
    }
  }
}
