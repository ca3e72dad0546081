package org.understudy.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

class DurableFileTest {
  @TempDir Path folder;

  /** Writes for ever, each content a run of one byte; killed by the test. */
  static final class Writer {
    public static void main(String[] args) throws IOException {
      for (int i = 0; ; i++) {
        byte[] content = new byte[300_000];
        Arrays.fill(content, (byte) i);
        DurableFile.replace(Path.of(args[0]), content);
      }
    }
  }

  @Test
  @Timeout(60)
  void aWriterKilledAtAnyMomentLeavesAWholeFile() throws Exception {
    Path file = folder.resolve("state");
    for (int kill = 0; kill < 4; kill++) {
      Files.deleteIfExists(file);
      Process writer =
          new ProcessBuilder(
                  Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                  "-XX:TieredStopAtLevel=1",
                  "-cp",
                  System.getProperty("java.class.path"),
                  Writer.class.getName(),
                  file.toString())
              .inheritIO()
              .start();
      long writes = 0;
      byte last = -1;
      while (writes < 5 + kill * 7L) {
        assertTrue(writer.isAlive());
        byte[] seen = Files.exists(file) ? Files.readAllBytes(file) : new byte[0];
        if (seen.length > 0 && seen[0] != last) {
          assertWhole(seen);
          last = seen[0];
          writes++;
        }
      }
      writer.destroyForcibly().waitFor();
      assertWhole(Files.readAllBytes(file));
    }
  }

  @Test
  void onlyTheOwnerMayReadItAndNothingElseIsLeft() throws IOException {
    Path file = folder.resolve("deeper/state");
    DurableFile.replace(file, new byte[] {1});
    DurableFile.replace(file, new byte[] {2});
    assertArrayEquals(new byte[] {2}, Files.readAllBytes(file));
    assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
    try (Stream<Path> files = Files.list(file.getParent())) {
      assertEquals(List.of(file), files.toList());
    }
    DurableFile.delete(file);
    DurableFile.delete(file);
    assertFalse(Files.exists(file));
  }

  @Test
  void createNewNeverReplaces() throws IOException {
    Path file = folder.resolve("key");
    DurableFile.createNew(file, new byte[] {1});
    DurableFile.createNew(file, new byte[] {2});
    assertArrayEquals(new byte[] {1}, Files.readAllBytes(file));
  }

  @Test
  void aFullOrForbiddenPlaceIsAnErrorAndTheOldFileStays() throws IOException {
    Path notAFolder = Files.writeString(folder.resolve("file"), "x");
    assertThrows(
        IOException.class, () -> DurableFile.replace(notAFolder.resolve("state"), new byte[] {1}));
    assertEquals("x", Files.readString(notAFolder));
  }

  private static void assertWhole(byte[] content) {
    assertEquals(300_000, content.length);
    for (byte value : content) {
      if (value != content[0]) {
        throw new AssertionError("torn: " + content[0] + " and " + value);
      }
    }
  }
}
