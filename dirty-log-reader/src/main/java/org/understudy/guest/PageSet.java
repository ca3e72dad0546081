package org.understudy.guest;

import java.util.Arrays;

/**
 * A set of page numbers of one layout, as a bitmap of fixed size. Not thread-safe: one owner at a
 * time.
 */
public final class PageSet {
  private final int pages;
  private final long[] words;

  /** An empty set over page numbers 0 to {@code pages} - 1. */
  public PageSet(int pages) {
    this.pages = pages;
    words = new long[(pages + 63) >>> 6];
  }

  /** The page numbers this set can hold are 0 to {@code capacity()} - 1. */
  public int capacity() {
    return pages;
  }

  /** Adds a page. */
  public void add(int page) {
    words[check(page) >>> 6] |= 1L << page;
  }

  /** Adds pages {@code from} to {@code to} - 1. */
  public void addRange(int from, int to) {
    if (from < 0 || to > pages || from > to) {
      throw new IndexOutOfBoundsException("pages " + from + " to " + to + " of " + pages);
    }
    if (from == to) {
      return;
    }
    int first = from >>> 6;
    int last = (to - 1) >>> 6;
    long firstMask = -1L << from;
    long lastMask = -1L >>> -to;
    if (first == last) {
      words[first] |= firstMask & lastMask;
      return;
    }
    words[first] |= firstMask;
    Arrays.fill(words, first + 1, last, -1L);
    words[last] |= lastMask;
  }

  /** Removes a page. */
  public void remove(int page) {
    words[check(page) >>> 6] &= ~(1L << page);
  }

  /** Removes pages {@code from} to {@code to} - 1. */
  public void removeRange(int from, int to) {
    if (from < 0 || to > pages || from > to) {
      throw new IndexOutOfBoundsException("pages " + from + " to " + to + " of " + pages);
    }
    if (from == to) {
      return;
    }
    int first = from >>> 6;
    int last = (to - 1) >>> 6;
    long firstMask = -1L << from;
    long lastMask = -1L >>> -to;
    if (first == last) {
      words[first] &= ~(firstMask & lastMask);
      return;
    }
    words[first] &= ~firstMask;
    Arrays.fill(words, first + 1, last, 0);
    words[last] &= ~lastMask;
  }

  /** Whether the page is in the set. */
  public boolean contains(int page) {
    return (words[check(page) >>> 6] & 1L << page) != 0;
  }

  /** The smallest page in the set that is at least {@code from}, or -1. */
  public int next(int from) {
    if (from >= pages) {
      return -1;
    }
    int word = from >>> 6;
    long bits = words[word] & -1L << from;
    while (bits == 0) {
      if (++word == words.length) {
        return -1;
      }
      bits = words[word];
    }
    return (word << 6) + Long.numberOfTrailingZeros(bits);
  }

  /**
   * The smallest page not in the set that is at least {@code from}, or {@code capacity()} if there
   * is none.
   */
  public int nextAbsent(int from) {
    if (from >= pages) {
      return pages;
    }
    int word = from >>> 6;
    long bits = ~words[word] & -1L << from;
    while (bits == 0) {
      if (++word == words.length) {
        return pages;
      }
      bits = ~words[word];
    }
    return Math.min(pages, (word << 6) + Long.numberOfTrailingZeros(bits));
  }

  /** Adds all pages of {@code other}, which has the same capacity. */
  public void addAll(PageSet other) {
    same(other);
    for (int i = 0; i < words.length; i++) {
      words[i] |= other.words[i];
    }
  }

  /** Removes all pages of {@code other}, which has the same capacity. */
  public void removeAll(PageSet other) {
    same(other);
    for (int i = 0; i < words.length; i++) {
      words[i] &= ~other.words[i];
    }
  }

  /** Keeps only pages of {@code other}, which has the same capacity. */
  public void retainAll(PageSet other) {
    same(other);
    for (int i = 0; i < words.length; i++) {
      words[i] &= other.words[i];
    }
  }

  /** Becomes equal to {@code other}, which has the same capacity. */
  public void set(PageSet other) {
    same(other);
    System.arraycopy(other.words, 0, words, 0, words.length);
  }

  /** Removes all pages. */
  public void clear() {
    Arrays.fill(words, 0);
  }

  /** Adds every page that the capacity allows. */
  public void fill() {
    addRange(0, pages);
  }

  /** Number of pages in the set; takes a pass over the bitmap. */
  public int count() {
    int count = 0;
    for (long word : words) {
      count += Long.bitCount(word);
    }
    return count;
  }

  /** Whether no page is in the set. */
  public boolean isEmpty() {
    return next(0) < 0;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof PageSet set && set.pages == pages && Arrays.equals(set.words, words);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(words);
  }

  @Override
  public String toString() {
    return count() + " of " + pages + " pages";
  }

  private int check(int page) {
    if (page < 0 || page >= pages) {
      throw new IndexOutOfBoundsException("page " + page + " of " + pages);
    }
    return page;
  }

  private void same(PageSet other) {
    if (other.pages != pages) {
      throw new IllegalArgumentException("sets over " + pages + " and " + other.pages + " pages");
    }
  }
}
