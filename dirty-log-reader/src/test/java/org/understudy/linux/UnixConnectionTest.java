package org.understudy.linux;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class UnixConnectionTest {
  @TempDir Path folder;

  private static ByteBuffer direct(String text) {
    return ByteBuffer.allocateDirect(text.length()).put(text.getBytes(US_ASCII)).flip();
  }

  @Test
  void aConnectionLivesOnInACopyOfItsDescriptor() throws Exception {
    Path path = folder.resolve("s");
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        PidFd self = new PidFd((int) ProcessHandle.current().pid())) {
      server.bind(UnixDomainSocketAddress.of(path));
      UnixConnection first = UnixConnection.connect(path);
      try (SocketChannel accepted = server.accept();
          UnixConnection copy = UnixConnection.of(self.getFd(first.fd()))) {
        first.close();
        copy.write(direct("over"));
        ByteBuffer heard = ByteBuffer.allocate(8);
        assertEquals(4, accepted.read(heard));
        assertFalse(copy.awaitReadable(0));
        accepted.write(ByteBuffer.wrap("back".getBytes(US_ASCII)));
        ByteBuffer answer = ByteBuffer.allocateDirect(8);
        assertTrue(copy.awaitReadable(5000));
        assertEquals(4, copy.read(answer));
        accepted.shutdownOutput();
        assertEquals(-1, copy.read(answer));
      }
    }
  }

  @Test
  void nobodyThereAndAPathTooLongAreSaid() {
    IOException gone =
        assertThrows(IOException.class, () -> UnixConnection.connect(folder.resolve("none")));
    assertTrue(gone.getMessage().contains("none"), gone.getMessage());
    Path longer = folder.resolve("x".repeat(120));
    assertTrue(
        assertThrows(IOException.class, () -> UnixConnection.connect(longer))
            .getMessage()
            .contains("less than 108"));
  }
}
