package org.understudy.daemon;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where the daemon answers the CLI: a UNIX socket of mode 0600. One request a connection: {@code
 * {"verb": name, …}}, answered by lines {@code {"out": text}}, {@code {"err": text}} and at the end
 * {@code {"exit": code}}.
 *
 * <p>A lock beside the socket keeps a second daemon out; a socket left by a dead one is replaced.
 */
public final class LocalServer implements AutoCloseable {
  private static final String FRESH = ".n";

  /** struct sockaddr_un holds 108 bytes with the final zero; the fresh socket's name is longest. */
  static final int LONGEST_SOCKET_PATH = 107 - FRESH.length();

  private static final Logger LOG = LoggerFactory.getLogger(LocalServer.class);

  private final Path socket;
  private final Map<String, LocalVerb> verbs;
  private final FileChannel lockFile;
  private final ServerSocketChannel server;
  private final Set<SocketChannel> connections = ConcurrentHashMap.newKeySet();

  private LocalServer(
      Path socket, Map<String, LocalVerb> verbs, FileChannel lockFile, ServerSocketChannel server) {
    this.socket = socket;
    this.verbs = Map.copyOf(verbs);
    this.lockFile = lockFile;
    this.server = server;
  }

  /**
   * Listens at once; the directory is made if missing, for the owner only.
   *
   * @throws IOException with a sentence if another daemon holds the socket
   */
  public static LocalServer start(Path socket, Map<String, LocalVerb> verbs) throws IOException {
    Files.createDirectories(
        socket.getParent(),
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    FileChannel lockFile =
        FileChannel.open(
            socket.resolveSibling(socket.getFileName() + ".lock"),
            StandardOpenOption.CREATE,
            StandardOpenOption.WRITE);
    try {
      if (!locked(lockFile)) {
        throw new IOException("another understudyd is running: it holds %s".formatted(socket));
      }
      LocalServer local = new LocalServer(socket, verbs, lockFile, bind(socket));
      Thread acceptor = new Thread(local::accept, "local-accept");
      acceptor.setDaemon(true);
      acceptor.start();
      return local;
    } catch (IOException e) {
      lockFile.close();
      throw e;
    }
  }

  /** Stops listening and drops all who wait for an answer. */
  @Override
  public void close() throws IOException {
    server.close();
    Files.deleteIfExists(socket);
    for (SocketChannel connection : connections) {
      connection.close();
    }
    lockFile.close();
  }

  private static boolean locked(FileChannel lockFile) throws IOException {
    try {
      FileLock lock = lockFile.tryLock();
      return lock != null;
    } catch (OverlappingFileLockException e) {
      return false;
    }
  }

  private static ServerSocketChannel bind(Path socket) throws IOException {
    // Nobody can connect before the mode is right: the name they know comes last.
    Path fresh = socket.resolveSibling(socket.getFileName() + FRESH);
    Files.deleteIfExists(fresh);
    ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    try {
      server.bind(UnixDomainSocketAddress.of(fresh));
      Files.setPosixFilePermissions(fresh, PosixFilePermissions.fromString("rw-------"));
      Files.move(fresh, socket, StandardCopyOption.ATOMIC_MOVE);
      return server;
    } catch (IOException e) {
      server.close();
      throw new IOException("cannot listen at %s: %s".formatted(socket, e.getMessage()), e);
    }
  }

  private void accept() {
    try {
      while (true) {
        SocketChannel connection = server.accept();
        connections.add(connection);
        LocalRequest request =
            new LocalRequest(connection, verbs, () -> connections.remove(connection));
        request.start();
      }
    } catch (ClosedChannelException e) {
      LOG.debug("{} is closed", socket);
    } catch (IOException e) {
      LOG.error("{} answers no more: {}", socket, e.toString());
    }
  }
}
