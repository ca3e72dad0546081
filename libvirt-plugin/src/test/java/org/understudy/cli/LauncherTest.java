package org.understudy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.spi.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The shell launchers, in a folder laid out as {@code mvn package} lays it out. */
@Timeout(120)
class LauncherTest {
  @TempDir Path folder;

  @Test
  void theCommandRunsFromAnywhereThroughALink() throws Exception {
    Path home = layOut();
    Path link = Files.createSymbolicLink(folder.resolve("us"), home.resolve("bin/understudy"));
    assertEquals(0, run(List.of(link.toString(), "version")), text());
    assertTrue(text().startsWith("understudy "), text());
    long start = System.nanoTime();
    assertEquals(1, run(List.of(link.toString(), "--config", "/nowhere/x.conf", "list")));
    System.out.printf("understudy list: %d ms%n", (System.nanoTime() - start) / 1_000_000);
    assertEquals(
        "error: /nowhere/x.conf does not exist; docs/understudy.conf is a sample to start from\n",
        text());
  }

  private Path layOut() throws IOException {
    Path home = folder.resolve("home with blank");
    Path bin = Files.createDirectories(home.resolve("bin"));
    Path lib = Files.createDirectories(home.resolve("lib"));
    Path script = Path.of(System.getProperty("understudy.root"), "libvirt-plugin/src/main/sh");
    Path copied = Files.copy(script.resolve("understudy"), bin.resolve("understudy"));
    assertTrue(copied.toFile().setExecutable(true));
    int classFolders = 0;
    for (String entry : System.getProperty("java.class.path").split(File.pathSeparator, -1)) {
      Path path = Path.of(entry);
      if (path.endsWith("target/classes")) {
        Path jar = lib.resolve("classes%d.jar".formatted(classFolders++));
        ToolProvider tool = ToolProvider.findFirst("jar").orElseThrow();
        assertEquals(0, tool.run(System.out, System.err, "cf", jar.toString(), "-C", entry, "."));
      } else if (Files.isRegularFile(path)) {
        Files.copy(path, lib.resolve(path.getFileName()));
      }
    }
    return home;
  }

  private int run(List<String> command) throws Exception {
    Process process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("output").toFile())
            .start();
    assertTrue(process.waitFor(30, TimeUnit.SECONDS));
    return process.exitValue();
  }

  private String text() throws IOException {
    return Files.readString(folder.resolve("output"));
  }
}
