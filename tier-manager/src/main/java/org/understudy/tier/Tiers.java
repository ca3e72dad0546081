package org.understudy.tier;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.zip.CRC32C;
import org.understudy.guest.Pages;

/**
 * Index, stores and redo records of one guest, and the small steps that move pages between them.
 * Everything here is guarded by {@link #lock}; a step holds it for well under a millisecond, so
 * that whoever freezes the image gets it at once. The lock is fair for the same reason.
 */
final class Tiers implements Closeable {
  final ReentrantLock lock = new ReentrantLock(true);
  final Condition changed = lock.newCondition();
  final PageIndex index;
  final PageStore medium;
  final PageStore slow;
  final FastPages fast;
  final TierSettings settings;
  final ArrayDeque<RedoRecord> backlog = new ArrayDeque<>(); // on disk, oldest first
  final ArrayDeque<RedoRecord> untold = new ArrayDeque<>(); // applied, the policy not told yet

  long epoch; // of the index, when no record is half applied
  byte[] deviceState;
  long refreshed;

  private final List<RedoRecord> records = new ArrayList<>(); // by id; null where an id is free
  private final ByteBuffer page = ByteBuffer.allocateDirect(Pages.SIZE);
  private final CRC32C crc = new CRC32C();
  private long[] freed = new long[256]; // locations that the durable index may still name
  private int freedCount;

  Tiers(PageIndex index, PageStore medium, PageStore slow, TierSettings settings) {
    this.index = index;
    this.medium = medium;
    this.slow = slow;
    this.settings = settings;
    fast = new FastPages(index);
  }

  int fastLimit() {
    return settings.fast().pages(index.nonZeroCount());
  }

  int mediumLimit() {
    return settings.medium().pages(index.nonZeroCount());
  }

  /** Takes a committed record over. */
  void add(RedoRecord record) {
    int id = records.indexOf(null);
    if (id < 0) {
      id = records.size();
      records.add(record);
    } else {
      records.set(id, record);
    }
    record.id = id;
    backlog.add(record);
    changed.signalAll();
  }

  boolean hasUnapplied() {
    return !backlog.isEmpty() && backlog.peekLast().epoch > epoch;
  }

  /** Lets the index name up to {@code entries} more pages of committed records. */
  void apply(int entries) {
    for (RedoRecord record : backlog) {
      if (record.epoch <= epoch) {
        continue;
      }
      int to = (int) Math.min(record.entries, (long) record.applied + entries);
      while (record.applied < to) {
        applyNext(record);
      }
      fast.trim(fastLimit());
      if (record.isApplied()) {
        epoch = record.epoch;
        deviceState = record.deviceState;
        untold.add(record);
        medium.limitBytes((long) mediumLimit() << Pages.SHIFT);
        changed.signalAll();
      }
      return;
    }
  }

  private void applyNext(RedoRecord record) {
    int entry = record.entryPage[record.applied];
    int check = record.entryCheck[record.applied++];
    int number = entry & ~RedoFormat.ZERO_PAGE;
    if (entry < 0) {
      point(number, 0, 0);
      if (index.fast.contains(number)) {
        fast.takeOut(number);
      }
      return;
    }
    int dataPage = record.appliedData++;
    record.live++;
    point(number, Location.inRedo(record.id, dataPage), check);
    if (index.fast.contains(number)) {
      try {
        fast.place(number, content(number));
        refreshed++;
      } catch (IOException e) {
        // Rather missing than old; folding meets the same error and reports it.
        fast.takeOut(number);
      }
    }
  }

  boolean hasUnfolded() {
    for (RedoRecord record : backlog) {
      if (record.epoch <= epoch && record.live > 0) {
        return true;
      }
    }
    return false;
  }

  /**
   * Copies up to {@code count} pages of the oldest record that still has any to a store.
   *
   * @throws IOException when a store is full or fails; the page stays where it was
   */
  void fold(int count) throws IOException {
    for (RedoRecord record : backlog) {
      if (record.epoch > epoch || record.live == 0) {
        continue;
      }
      for (int left = count; left > 0 && record.live > 0; ) {
        int entry = record.entryPage[record.folded];
        if (entry >= 0) {
          if (index.location[entry] == Location.inRedo(record.id, record.foldedData)) {
            store(entry, content(entry));
            left--;
          }
          record.foldedData++;
        }
        record.folded++;
      }
      return;
    }
  }

  private void store(int number, ByteBuffer content) throws IOException {
    long place = PageStore.NO_ROOM;
    try {
      place = medium.write(content);
    } catch (IOException e) {
      if (!StandbyImage.isNoSpace(e)) {
        throw e;
      }
    }
    if (place != PageStore.NO_ROOM) {
      point(number, Location.of(Location.MEDIUM, place), index.check[number]);
      return;
    }
    storeSlow(number, content);
  }

  private void storeSlow(int number, ByteBuffer content) throws IOException {
    long place = slow.write(content);
    if (place == PageStore.NO_ROOM) {
      throw new IOException("no room within Slow's limit, " + slow.usedBytes() + " bytes in use");
    }
    point(number, Location.of(Location.SLOW, place), index.check[number]);
  }

  /** Moves a page from Medium to Slow. */
  void demote(int number) throws IOException {
    storeSlow(number, content(number));
  }

  /** Moves a page from Slow to Medium; false when there is no room. */
  boolean promote(int number) throws IOException {
    long place = medium.write(content(number));
    if (place == PageStore.NO_ROOM) {
      return false;
    }
    point(number, Location.of(Location.MEDIUM, place), index.check[number]);
    return true;
  }

  /** Places a non-zero page in Fast. */
  void stage(int number) throws IOException {
    fast.place(number, content(number));
  }

  /** Content of a non-zero page, checked, in a buffer that the next call reuses. */
  private ByteBuffer content(int number) throws IOException {
    page.clear();
    read(number, page, crc);
    return page.clear();
  }

  /** Reads a page to the position of {@code into}, which moves; checks the content. */
  void read(int number, ByteBuffer into, CRC32C sum) throws IOException {
    long location = index.location[number];
    int start = into.position();
    long place = Location.place(location);
    switch (Location.kind(location)) {
      case Location.MEDIUM -> medium.read(place, into);
      case Location.SLOW -> slow.read(place, into);
      case Location.REDO ->
          records.get(Location.redoRecord(location)).read(Location.redoPage(location), into);
      default -> throw new IllegalStateException("page " + number + " is zero");
    }
    int limit = into.limit();
    sum.reset();
    sum.update(into.limit(start + Pages.SIZE).position(start));
    into.limit(limit);
    if ((int) sum.getValue() != index.check[number]) {
      throw new IOException(
          String.format(
              "page %d in %s at place %d has CRC32C %08x, expected %08x",
              number, kindName(location), place, (int) sum.getValue(), index.check[number]));
    }
  }

  private static String kindName(long location) {
    return new String[] {"no store", "Medium", "Slow", "a redo record"}[Location.kind(location)];
  }

  private void point(int number, long to, int check) {
    long from = index.set(number, to, check);
    index.unsaved.add(number);
    if (from == Location.IN_LATER_REDO) {
      return; // replay after a restart
    }
    switch (Location.kind(from)) {
      case Location.ZERO -> {}
      case Location.REDO -> records.get(Location.redoRecord(from)).live--;
      default -> {
        if (freedCount == freed.length) {
          freed = Arrays.copyOf(freed, freedCount * 2);
        }
        freed[freedCount++] = from;
      }
    }
  }

  int freedCount() {
    return freedCount;
  }

  /** Hands over the locations to free once the index is durable. */
  long[] takeFreed() {
    long[] taken = Arrays.copyOf(freed, freedCount);
    freedCount = 0;
    if (freed.length > 1 << 16) {
      freed = new long[256];
    }
    return taken;
  }

  /** Takes locations back that could not be freed. */
  void giveBackFreed(long[] taken) {
    freed = Arrays.copyOf(freed, freedCount + Math.max(256, taken.length));
    System.arraycopy(taken, 0, freed, freedCount, taken.length);
    freedCount += taken.length;
  }

  void free(long location) {
    if (Location.kind(location) == Location.MEDIUM) {
      medium.free(Location.place(location));
    } else {
      slow.free(Location.place(location));
    }
  }

  /** The records that may be deleted once the index is durable: the folded ones at the head. */
  List<RedoRecord> foldedHead() {
    List<RedoRecord> head = new ArrayList<>();
    for (RedoRecord record : backlog) {
      if (record.epoch > epoch || record.live > 0) {
        break;
      }
      head.add(record);
    }
    return head;
  }

  /** Forgets the oldest record, which is no longer needed. */
  void drop(RedoRecord record) {
    backlog.remove(record);
    records.set(record.id, null);
    changed.signalAll();
  }

  @Override
  public void close() throws IOException {
    try (medium;
        slow) {
      for (RedoRecord record : backlog) {
        record.close();
      }
    }
  }
}
