package org.understudy.dirtylog;

import java.io.IOException;
import org.understudy.guest.PageSet;

/**
 * The pages a guest has written since a moment called the last <em>arming</em>. May report pages
 * that were not written, never misses one that was, for every write that goes through the page
 * tables of the watched process or ends, as O_DIRECT reads do, in pages pinned before.
 *
 * <p>Arm only while the guest and its I/O are drained: a page that a device reads into is marked
 * when it is pinned, not when the data lands.
 *
 * <p>Until the first {@link #rearm} everything counts as written. One thread at a time.
 */
public interface DirtyLog extends AutoCloseable {
  /**
   * Name of the method, as {@link DirtyLogs#open(org.understudy.guest.GuestMapping, String)} takes
   * it.
   */
  String method();

  /**
   * Adds the pages written since the last arming; they stay marked.
   *
   * @param into a set with the capacity of the guest's layout; nothing is removed from it
   * @throws IOException the process has ended, or the kernel refused; {@code into} may hold a part
   */
  void look(PageSet into) throws IOException;

  /**
   * Adds the pages written since the last arming, among them all that a {@link #look} has added
   * since, and arms anew: from now on only later writes count. After an error every page counts as
   * written until a later arming succeeds.
   *
   * @param into a set with the capacity of the guest's layout; nothing is removed from it
   * @throws IOException the process has ended, or the kernel refused; {@code into} may hold a part
   */
  void rearm(PageSet into) throws IOException;

  /** Stops watching; the process goes on as if never watched. */
  @Override
  void close();
}
