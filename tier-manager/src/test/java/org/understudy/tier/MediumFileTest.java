package org.understudy.tier;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.understudy.guest.Pages;
import org.understudy.medium.MediumFile;

class MediumFileTest {
  private static final long EXTENT = 64L << 20;

  @TempDir Path folder;

  @Test
  void roomIsSetAsideAnExtentAheadAndNeverBeyondTheLimit() throws Exception {
    Path path = folder.resolve("medium");
    try (MediumFile medium = new MediumFile(path)) {
      medium.limitBytes(EXTENT + EXTENT / 2);
      ByteBuffer page = ByteBuffer.allocateDirect(Pages.SIZE).put(0, (byte) 1);
      assertEquals(0, medium.write(page));
      assertEquals(Pages.SIZE, Files.size(path), "the length is that of what was written");
      assertEquals(EXTENT, allocated(path), "bytes set aside after the first page");
      for (int slot = 1; slot <= EXTENT / Pages.SIZE; slot++) {
        assertEquals(slot, medium.write(page));
      }
      assertEquals(EXTENT + EXTENT / 2, allocated(path), "bytes set aside, the limit");
      ByteBuffer back = ByteBuffer.allocateDirect(Pages.SIZE);
      medium.read(EXTENT / Pages.SIZE, back);
      assertTrue(back.flip().equals(page.clear()));
    }
  }

  /** Bytes of the disk that a file has, from {@code stat}. */
  private static long allocated(Path path) throws Exception {
    Process stat = new ProcessBuilder("stat", "-c", "%b", path.toString()).start();
    String blocks =
        new String(stat.getInputStream().readAllBytes(), StandardCharsets.US_ASCII).strip();
    assertEquals(0, stat.waitFor());
    return Long.parseLong(blocks) * 512;
  }
}
