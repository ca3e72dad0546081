package org.understudy.dirtylog;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.RamBlock;
import org.understudy.linux.ProcessMaps;

/**
 * The file, memfd or hugetlbfs file behind a RAM block. Punching a hole sets its modification time;
 * writing through a mapping of shared memory does not.
 */
final class BackingFile {
  /** Modification times may stand still for a tick of the kernel's clock, at most 10 ms. */
  private static final long TICK_NS = 20_000_000;

  private final int pid;
  private final long address;
  private Path link;
  private FileTime modifiedAtArming;
  private boolean fresh;

  private BackingFile(int pid, long address, Path link) {
    this.pid = pid;
    this.address = address;
    this.link = link;
  }

  /** By block number: its file, or null where the block is anonymous memory. */
  static BackingFile[] ofBlocks(GuestMapping mapping) throws IOException {
    List<ProcessMaps.Mapping> maps = ProcessMaps.of(mapping.pid());
    BackingFile[] files = new BackingFile[mapping.hostAddress().length];
    for (int block = 0; block < files.length; block++) {
      long start = mapping.hostAddress()[block];
      RamBlock ram = mapping.layout().blocks().get(block);
      for (ProcessMaps.Mapping map : maps) {
        if (map.start() < start + ram.bytes() && map.end() > start && map.inode() != 0) {
          files[block] =
              new BackingFile(
                  mapping.pid(), Math.max(start, map.start()), link(mapping.pid(), map));
          break;
        }
      }
    }
    return files;
  }

  private static Path link(int pid, ProcessMaps.Mapping map) {
    return Path.of("/proc/%d/map_files/%x-%x".formatted(pid, map.start(), map.end()));
  }

  /** Whether a hole may have been punched since the last arming; {@code arm}: start anew. */
  boolean changedSinceArming(boolean arm) throws IOException {
    FileTime modified = modified();
    boolean changed = fresh || !modified.equals(modifiedAtArming);
    if (arm) {
      modifiedAtArming = modified;
      long nowNs = TimeUnit.MILLISECONDS.toNanos(System.currentTimeMillis());
      fresh = nowNs - modified.to(TimeUnit.NANOSECONDS) < TICK_NS;
    }
    return changed;
  }

  private FileTime modified() throws IOException {
    try {
      return Files.getLastModifiedTime(link);
    } catch (NoSuchFileException e) {
      // The kernel splits and joins mappings, and the link is named by its bounds.
      for (ProcessMaps.Mapping map : ProcessMaps.of(pid)) {
        if (map.start() <= address && address < map.end() && map.inode() != 0) {
          link = link(pid, map);
          return Files.getLastModifiedTime(link);
        }
      }
      throw new IOException("process %d no longer maps a file at 0x%x".formatted(pid, address), e);
    }
  }
}
