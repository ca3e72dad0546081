package org.understudy.dirtylog;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import org.understudy.linux.ProcessMaps;
import org.understudy.linux.ProcessMemory;

/**
 * Two pieces of code that every x86-64 process has somewhere.
 *
 * @param systemCall address of {@code syscall; ret}
 * @param restorer address of {@code mov $15, %rax; syscall}, the C library's __restore_rt
 */
record CodeAddresses(long systemCall, long restorer) {
  private static final byte[] SYSCALL_RET = {0x0f, 0x05, (byte) 0xc3};
  private static final byte[] RESTORER = {
    0x48, (byte) 0xc7, (byte) 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05
  };
  private static final int CHUNK_BYTES = 1 << 20;
  private static final int OVERLAP_BYTES = 16;

  /** Searches the executable mappings of a process, the C library's first. */
  static CodeAddresses in(ProcessMemory memory) throws IOException {
    List<ProcessMaps.Mapping> code =
        ProcessMaps.of(memory.pid()).stream()
            .filter(m -> m.executable() && m.readable() && m.inode() != 0)
            .sorted((a, b) -> Boolean.compare(isLibc(b), isLibc(a)))
            .toList();
    ByteBuffer chunk = ByteBuffer.allocateDirect(CHUNK_BYTES);
    long systemCall = 0;
    long restorer = 0;
    for (ProcessMaps.Mapping mapping : code) {
      for (long at = mapping.start(); at < mapping.end(); at += CHUNK_BYTES - OVERLAP_BYTES) {
        chunk.clear().limit((int) Math.min(CHUNK_BYTES, mapping.end() - at));
        memory.read(at, chunk);
        chunk.flip();
        systemCall = systemCall != 0 ? systemCall : find(chunk, SYSCALL_RET, at);
        restorer = restorer != 0 ? restorer : find(chunk, RESTORER, at);
        if (systemCall != 0 && restorer != 0) {
          return new CodeAddresses(systemCall, restorer);
        }
      }
    }
    throw new IOException(
        "process %d has no code %s in its %d executable mappings"
            .formatted(
                memory.pid(),
                systemCall == 0 ? "`syscall; ret`" : "`mov $15, %rax; syscall`",
                code.size()));
  }

  private static boolean isLibc(ProcessMaps.Mapping mapping) {
    return mapping.path().contains("/libc.so") || mapping.path().contains("/libc-");
  }

  private static long find(ByteBuffer chunk, byte[] pattern, long address) {
    for (int i = 0; i + pattern.length <= chunk.limit(); i++) {
      int matched = 0;
      while (matched < pattern.length && chunk.get(i + matched) == pattern[matched]) {
        matched++;
      }
      if (matched == pattern.length) {
        return address + i;
      }
    }
    return 0;
  }
}
