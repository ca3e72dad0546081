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
 * Everything here is guarded by {@link #lock}, but for what the stores know of their files: that
 * belongs to the commit thread. A step holds the lock for well under a millisecond and waits for no
 * store meanwhile, so that whoever freezes the image gets it at once; it is fair for the same
 * reason.
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

  /** The oldest record with pages that no store holds yet, or null. */
  RedoRecord oldestUnfolded() {
    for (RedoRecord record : backlog) {
      if (record.epoch <= epoch && record.live > 0) {
        return record;
      }
    }
    return null;
  }

  /** Chooses the next pages of a record that are to be folded. */
  void chooseUnfolded(RedoRecord record, Relocation into) {
    while (record.folded < record.entries && !into.isFull()) {
      int entry = record.entryPage[record.folded++];
      if (entry >= 0 && index.location[entry] == Location.inRedo(record.id, record.foldedData++)) {
        into.choose(entry);
      }
    }
  }

  /** The record that a location lies in, or null when it lies in a store. */
  RedoRecord recordOf(long location) {
    return Location.kind(location) == Location.REDO
        ? records.get(Location.redoRecord(location))
        : null;
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
    read(number, location, index.check[number], recordOf(location), into, sum);
  }

  /** Reads a page from a location in a store or in {@code record}; needs no lock. */
  void read(int number, long location, int check, RedoRecord record, ByteBuffer into, CRC32C sum)
      throws IOException {
    int start = into.position();
    long place = Location.place(location);
    switch (Location.kind(location)) {
      case Location.MEDIUM -> medium.read(place, into);
      case Location.SLOW -> slow.read(place, into);
      case Location.REDO -> record.read(Location.redoPage(location), into);
      default -> throw new IllegalStateException("page " + number + " is zero");
    }
    int limit = into.limit();
    sum.reset();
    sum.update(into.limit(start + Pages.SIZE).position(start));
    into.limit(limit);
    if ((int) sum.getValue() != check) {
      throw new IOException(
          String.format(
              "page %d in %s at place %d has CRC32C %08x, expected %08x",
              number, kindName(location), place, (int) sum.getValue(), check));
    }
  }

  private static String kindName(long location) {
    return new String[] {"no store", "Medium", "Slow", "a redo record"}[Location.kind(location)];
  }

  void point(int number, long to, int check) {
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
