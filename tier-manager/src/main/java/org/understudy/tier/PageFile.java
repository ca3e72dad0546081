package org.understudy.tier;

import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * A file read and written by position, by several threads. An interrupted caller closes a {@link
 * FileChannel} for everybody; here the file is opened again and the transfer repeated, because a
 * tier must not vanish with a cancelled reader. The caller's interrupt is kept.
 */
public final class PageFile implements Closeable {
  private final Path path;
  private volatile FileChannel channel;
  private boolean closed;

  private PageFile(Path path, FileChannel channel) {
    this.path = path;
    this.channel = channel;
  }

  /** Opens the file for reading and writing, and creates it when it is absent. */
  public static PageFile open(Path path) throws IOException {
    return new PageFile(
        path,
        FileChannel.open(
            path, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.CREATE));
  }

  /** Makes names created, renamed and deleted in {@code directory} durable. */
  public static void syncDirectory(Path directory) throws IOException {
    try (FileChannel names = FileChannel.open(directory, StandardOpenOption.READ)) {
      names.force(true);
    }
  }

  /** The file's path. */
  public Path path() {
    return path;
  }

  /**
   * Fills {@code into} up to its limit from offset {@code at}.
   *
   * @throws EOFException when the file ends before
   */
  public void read(long at, ByteBuffer into) throws IOException {
    int start = into.position();
    boolean interrupted = false;
    try {
      while (true) {
        FileChannel file = channel;
        try {
          while (into.hasRemaining()) {
            long from = at + into.position() - start;
            if (file.read(into, from) < 0) {
              throw new EOFException(
                  path + " ends at " + file.size() + ", expected bytes from offset " + from);
            }
          }
          return;
        } catch (ClosedChannelException e) {
          interrupted |= interruptedBy(e);
          reopen(file);
          into.position(start);
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Writes {@code from} up to its limit to offset {@code at}. */
  public void write(long at, ByteBuffer from) throws IOException {
    int start = from.position();
    boolean interrupted = false;
    try {
      while (true) {
        FileChannel file = channel;
        try {
          while (from.hasRemaining()) {
            file.write(from, at + from.position() - start);
          }
          return;
        } catch (ClosedChannelException e) {
          interrupted |= interruptedBy(e);
          reopen(file);
          from.position(start);
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Makes everything written so far durable. */
  public void sync() throws IOException {
    boolean interrupted = false;
    try {
      while (true) {
        FileChannel file = channel;
        try {
          file.force(false);
          return;
        } catch (ClosedChannelException e) {
          interrupted |= interruptedBy(e);
          reopen(file);
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Length in bytes, holes included. */
  public long size() throws IOException {
    return channel.size();
  }

  /** Cuts the file to {@code bytes}. */
  public void truncate(long bytes) throws IOException {
    channel.truncate(bytes);
  }

  @Override
  public synchronized void close() throws IOException {
    closed = true;
    channel.close();
  }

  private static boolean interruptedBy(ClosedChannelException e) {
    return e instanceof ClosedByInterruptException && Thread.interrupted();
  }

  private synchronized void reopen(FileChannel seen) throws IOException {
    if (closed) {
      throw new ClosedChannelException();
    }
    if (channel == seen) {
      channel = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE);
    }
  }
}
