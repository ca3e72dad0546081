package org.understudy.daemon;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import org.understudy.guest.EpochSink;
import org.understudy.guest.PageSet;

/**
 * Passes epochs on to the link and remembers which pages went with each one until the standby has
 * acknowledged it, so that a link that comes back costs only the pages the standby has not got.
 * Used by the capture thread alone.
 */
final class SentPages implements EpochSink {
  private record Sent(long epoch, PageSet pages) {}

  private final int pages;
  private final EpochSink link;
  private final ArrayDeque<Sent> unacknowledged = new ArrayDeque<>();
  private final ArrayDeque<PageSet> spare = new ArrayDeque<>();
  private Sent running;

  /** Over {@code pages} page numbers; {@code link} takes what is passed on. */
  SentPages(int pages, EpochSink link) {
    this.pages = pages;
    this.link = link;
  }

  @Override
  public void begin(long epoch) throws IOException {
    PageSet set = spare.isEmpty() ? new PageSet(pages) : spare.pop();
    set.clear();
    running = new Sent(epoch, set);
    link.begin(epoch);
  }

  @Override
  public void page(int page, ByteBuffer content) throws IOException {
    running.pages.add(page);
    link.page(page, content);
  }

  @Override
  public void zeroPage(int page) throws IOException {
    running.pages.add(page);
    link.zeroPage(page);
  }

  @Override
  public void deviceState(ByteBuffer state) throws IOException {
    link.deviceState(state);
  }

  @Override
  public void commit() throws IOException {
    unacknowledged.add(running);
    running = null;
    link.commit();
  }

  @Override
  public void discard() throws IOException {
    if (running != null) {
      spare.push(running.pages);
      running = null;
    }
    link.discard();
  }

  /** The standby has committed every epoch up to {@code epoch}. */
  void acknowledged(long epoch) {
    while (!unacknowledged.isEmpty() && unacknowledged.peek().epoch <= epoch) {
      spare.push(unacknowledged.remove().pages);
    }
  }

  /** Number of epochs given to the link whose commit is not acknowledged. */
  int waiting() {
    return unacknowledged.size();
  }

  /** Adds every page of an unacknowledged epoch to {@code into} and forgets those epochs. */
  void giveBack(PageSet into) {
    for (Sent sent : unacknowledged) {
      into.addAll(sent.pages);
    }
    if (running != null) {
      into.addAll(running.pages);
    }
    unacknowledged.clear();
    running = null;
  }
}
