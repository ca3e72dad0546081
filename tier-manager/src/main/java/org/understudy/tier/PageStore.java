package org.understudy.tier;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * A place on disk where pages lie. A page is never overwritten: it is stored in free space, and its
 * old space is freed when the index that no longer names it is durable. So what a crash leaves is
 * always what the last durable index describes.
 *
 * <p>A <em>place</em> is 62 bits of the store's own choosing that find the page again. Storing,
 * freeing and syncing are done by one thread, reading by any.
 */
public interface PageStore extends Closeable {
  /** {@link #write}'s answer when there is no room within the limit. */
  long NO_ROOM = -1;

  /**
   * Stores a page.
   *
   * @param content the page's bytes from its position; left as it was
   * @return the page's place, or {@link #NO_ROOM}
   */
  long write(ByteBuffer content) throws IOException;

  /**
   * Reads the page at {@code place}.
   *
   * @param into receives {@link org.understudy.guest.Pages#SIZE} bytes at its position, which moves
   */
  void read(long place, ByteBuffer into) throws IOException;

  /**
   * Marks the place as in use, for an index read back from disk.
   *
   * @throws IOException when the place is already in use or lies outside the file
   */
  void claim(long place) throws IOException;

  /** Gives the place's room back. */
  void free(long place);

  /** Bytes of the file that {@code place} takes. */
  int bytes(long place);

  /** Room in bytes that pages may take; what is stored beyond it already stays. */
  void limitBytes(long bytes);

  /** Bytes in use. */
  long usedBytes();

  /** Bytes of the file, free room between pages included. */
  long fileBytes();

  /** Makes everything stored so far durable. */
  void sync() throws IOException;
}
