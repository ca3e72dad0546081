package org.understudy.file;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;

/**
 * Small files that are either the old or the new ones, whatever dies in between: written beside,
 * synced, renamed, and the directory synced. Mode 0600.
 */
public final class DurableFile {
  private static final FileAttribute<?> OWNER_ONLY =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));

  private DurableFile() {}

  /** Replaces {@code file}, durable on return. Its directory is made if missing. */
  public static void replace(Path file, byte[] content) throws IOException {
    Path fresh = writeBeside(file, content);
    try {
      Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(fresh);
    }
    syncDirectory(file.getParent());
  }

  /** Makes {@code file} unless somebody else made it meanwhile; then theirs stays. */
  public static void createNew(Path file, byte[] content) throws IOException {
    Path fresh = writeBeside(file, content);
    try {
      Files.createLink(file, fresh);
    } catch (FileAlreadyExistsException e) {
      return;
    } finally {
      Files.deleteIfExists(fresh);
    }
    syncDirectory(file.getParent());
  }

  /** Removes {@code file} if it is there, durable on return. */
  public static void delete(Path file) throws IOException {
    if (Files.deleteIfExists(file)) {
      syncDirectory(file.getParent());
    }
  }

  private static Path writeBeside(Path file, byte[] content) throws IOException {
    Files.createDirectories(file.getParent());
    Path fresh =
        file.resolveSibling(
            ".%s.%d.%d.new"
                .formatted(file.getFileName(), ProcessHandle.current().pid(), System.nanoTime()));
    try (FileChannel channel =
        FileChannel.open(
            fresh, Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE), OWNER_ONLY)) {
      ByteBuffer bytes = ByteBuffer.wrap(content);
      while (bytes.hasRemaining()) {
        channel.write(bytes);
      }
      channel.force(true);
    } catch (IOException e) {
      Files.deleteIfExists(fresh);
      throw e;
    }
    return fresh;
  }

  private static void syncDirectory(Path directory) throws IOException {
    try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }
}
