package org.understudy.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NotifySocketTest {
  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void everyWordArrivesAsADatagram(boolean inFilesystem) throws Exception {
    String path = folder.resolve("notify").toString();
    byte[] name = ((inFilesystem ? "" : "\0") + path).getBytes(StandardCharsets.UTF_8);
    ByteBuffer address = Kernel.allocate(110).putShort((short) 1).put(name);
    int listening = (int) ErrnoException.check(Kernel.call(Kernel.SOCKET, 1, 2, 0), "socket");
    ErrnoException.check(
        Kernel.call(
            Kernel.BIND,
            listening,
            Kernel.addressOf(address),
            2 + name.length + (inFilesystem ? 1 : 0)),
        "bind");
    try (NotifySocket socket = new NotifySocket((inFilesystem ? "" : "@") + path)) {
      socket.say("READY=1");
      socket.say("WATCHDOG=1");
      assertEquals("READY=1", heard(listening));
      assertEquals("WATCHDOG=1", heard(listening));
    } finally {
      Kernel.close(listening);
    }
  }

  private static String heard(int fd) throws IOException {
    ByteBuffer buffer = Kernel.allocate(100);
    long count = Kernel.call(Kernel.READ, fd, Kernel.addressOf(buffer), 100);
    byte[] bytes = new byte[(int) ErrnoException.check(count, "read")];
    buffer.get(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }

  @Test
  void nobodyThereIsSaid() throws Exception {
    try (NotifySocket socket = new NotifySocket(folder.resolve("none").toString())) {
      IOException gone = assertThrows(IOException.class, () -> socket.say("WATCHDOG=1"));
      assertTrue(gone.getMessage().contains("WATCHDOG=1"), gone.getMessage());
    }
  }
}
