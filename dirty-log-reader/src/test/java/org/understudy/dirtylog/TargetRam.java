package org.understudy.dirtylog;

import java.util.ArrayList;
import java.util.List;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;
import org.understudy.guest.RamBlock;

/** Several ranges of a {@link Target}'s memory as the blocks of a guest. */
record TargetRam(Target target, GuestMapping mapping) {
  /** {@code kinds} and {@code pages} by block. */
  static TargetRam of(Target target, List<String> kinds, int... pages) throws Exception {
    List<RamBlock> blocks = new ArrayList<>();
    long[] addresses = new long[pages.length];
    for (int i = 0; i < pages.length; i++) {
      addresses[i] = target.map(kinds.get(i), pages[i]);
      blocks.add(new RamBlock("block" + i + "." + kinds.get(i), 4096L * pages[i]));
    }
    return new TargetRam(
        target, new GuestMapping(target.pid(), new GuestLayout(blocks), addresses));
  }

  int pages() {
    return mapping.layout().pages();
  }

  PageSet none() {
    return new PageSet(pages());
  }

  /** Has the target `write` or `read` each page of the set. */
  void touch(String verb, PageSet set) throws Exception {
    StringBuilder line = new StringBuilder(verb);
    for (int page = set.next(0); page >= 0; page = set.next(page + 1)) {
      line.append(' ').append(Long.toHexString(mapping.addressOf(page)));
    }
    if (!set.isEmpty()) {
      target.ask(line.toString());
    }
  }

  /** Has the target `dontneed` or `punch` pages from {@code from} to before {@code to}. */
  PageSet discard(String verb, int from, int to) throws Exception {
    target.ask("%s %x %d".formatted(verb, mapping.addressOf(from), to - from));
    PageSet set = none();
    set.addRange(from, to);
    return set;
  }
}
