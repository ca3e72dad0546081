package org.understudy.dirtylog;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;

/** A C program of src/test/c, compiled on first use and running as a child of the test. */
final class Target implements AutoCloseable {
  private final Process process;
  private final BufferedReader answers;
  private final Writer commands;

  Target(String program, String... arguments) throws Exception {
    List<String> command = new ArrayList<>(List.of(compiled(program).toString()));
    command.addAll(List.of(arguments));
    process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    answers = process.inputReader();
    commands = process.outputWriter();
  }

  static synchronized Path compiled(String program) throws Exception {
    Path source = Path.of("src/test/c", program + ".c");
    Path binary = Files.createDirectories(Path.of("target/c")).resolve(program);
    if (!Files.exists(binary)
        || Files.getLastModifiedTime(binary).compareTo(Files.getLastModifiedTime(source)) < 0) {
      Process gcc =
          new ProcessBuilder(
                  "gcc",
                  "-O1",
                  "-Wall",
                  "-Wextra",
                  "-Werror",
                  "-mno-red-zone",
                  "-pthread",
                  "-o",
                  binary.toString(),
                  source.toString())
              .inheritIO()
              .start();
      if (gcc.waitFor() != 0) {
        throw new IOException("gcc could not compile " + source);
      }
    }
    return binary.toAbsolutePath();
  }

  int pid() {
    return (int) process.pid();
  }

  boolean isAlive() {
    return process.isAlive();
  }

  /** Next line the program prints. */
  String line() throws IOException {
    String line = answers.readLine();
    if (line == null) {
      throw new IOException("the target has ended");
    }
    return line;
  }

  /** Sends a command line and returns the answer line. */
  String ask(String command) throws IOException {
    commands.write(command + "\n");
    commands.flush();
    String answer = line();
    if (answer.startsWith("error")) {
      throw new IOException("`" + command + "`: " + answer);
    }
    return answer;
  }

  /** Maps memory and returns its address. */
  long map(String kind, int pages) throws IOException {
    String path = "";
    if (kind.equals("file")) {
      Path file = Files.createTempFile(Path.of("target"), "ram", "").toAbsolutePath();
      file.toFile().deleteOnExit();
      path = " " + file;
    }
    return Long.parseUnsignedLong(ask("map " + kind + " " + pages + path), 16);
  }

  /** Ends the program's input and returns its last line. */
  String finish() throws Exception {
    commands.close();
    String last = line();
    if (!process.waitFor(20, TimeUnit.SECONDS)) {
      throw new IOException("the target does not end");
    }
    return last + (process.exitValue() == 0 ? "" : ", exit " + process.exitValue());
  }

  void kill() throws InterruptedException {
    process.destroyForcibly().waitFor();
  }

  /** What each open descriptor of the program is. */
  Set<String> descriptors() throws IOException {
    return descriptors(pid());
  }

  static Set<String> descriptors(int pid) throws IOException {
    Set<String> found = new TreeSet<>();
    try (var fds = Files.newDirectoryStream(Path.of("/proc/" + pid + "/fd"))) {
      for (Path fd : fds) {
        try {
          found.add(fd.getFileName() + " " + Files.readSymbolicLink(fd));
        } catch (NoSuchFileException closedMeanwhile) {
          // not open any more
        }
      }
    }
    return found;
  }

  @Override
  public void close() {
    process.destroyForcibly();
  }
}
