package org.understudy.tier;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;

/**
 * The last committed epoch, whole: what a failover resumes. Frozen while somebody promotes it;
 * {@link #read} and {@link #isZero} may then be called by several threads.
 */
public interface CommittedImage {
  /** The guest's RAM blocks. */
  GuestLayout layout();

  /** Number of the committed epoch, 0 when there is none. */
  long epoch();

  /** Whether the page holds only zeros. */
  boolean isZero(int page);

  /**
   * Reads a page, zero or not, wherever it is stored.
   *
   * @param into receives {@link org.understudy.guest.Pages#SIZE} bytes at its position
   */
  void read(int page, ByteBuffer into) throws IOException;

  /** Pages that are placed in the paused guest with the content of this epoch. */
  PageSet fastPages();

  /** State of all devices, from magic to EOF, position 0; a new buffer for each call. */
  ByteBuffer deviceState() throws IOException;
}
