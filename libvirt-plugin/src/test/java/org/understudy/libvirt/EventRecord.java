package org.understudy.libvirt;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.understudy.libvirt.LifecycleEvent.Change;

/** The events of one domain, and the connection's, in their order. */
final class EventRecord implements LifecycleEvent.Listener {
  private final String domain;
  private final List<Change> changes = new ArrayList<>();
  private final List<Boolean> connections = new ArrayList<>();

  EventRecord(String domain) {
    this.domain = domain;
  }

  @Override
  public synchronized void changed(LifecycleEvent event) {
    if (event.domain().equals(domain)) {
      changes.add(event.change());
      notifyAll();
    }
  }

  @Override
  public synchronized void connected(boolean again, String sentence) {
    connections.add(again);
    notifyAll();
  }

  /** Waits for a change that was not there yet at the last {@link #clear}. */
  synchronized List<Change> await(Change change) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!changes.contains(change)) {
      long leftMs = (end - System.nanoTime()) / 1_000_000;
      if (leftMs <= 0) {
        throw new AssertionError("no event " + change + " within 30 s, but " + changes);
      }
      wait(leftMs);
    }
    return List.copyOf(changes);
  }

  synchronized void awaitConnection(boolean again) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!connections.contains(again)) {
      long leftMs = (end - System.nanoTime()) / 1_000_000;
      if (leftMs <= 0) {
        throw new AssertionError("connection never " + again + " within 30 s: " + connections);
      }
      wait(leftMs);
    }
  }

  synchronized void clear() {
    changes.clear();
  }

  synchronized List<Change> changes() {
    return List.copyOf(changes);
  }
}
