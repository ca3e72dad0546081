package org.understudy.standby;

import java.io.IOException;
import org.understudy.guest.PageSet;

/**
 * Which pages the standby QEMU has in its memory, whoever put them there: placed ones, and pages of
 * zeros that came into being because somebody read guest RAM (a screenshot, a dump).
 */
public interface PresenceProbe {
  /**
   * Adds the pages of block number {@code block} that are present.
   *
   * @param into over all pages of the layout
   */
  void present(int block, PageSet into) throws IOException;
}
