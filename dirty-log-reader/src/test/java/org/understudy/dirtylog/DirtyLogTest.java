package org.understudy.dirtylog;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.understudy.guest.GuestMapping;
import org.understudy.guest.PageSet;

/** Every log against a process that writes known pages. */
class DirtyLogTest {
  private static final List<String> ALL =
      List.of(DirtyLogs.PAGEMAP_SCAN, DirtyLogs.SOFT_DIRTY, DirtyLogs.COMPARE);

  /** Those to be tried, all unless a machine is known to lack some. */
  private static final List<String> METHODS =
      List.of(System.getProperty("understudy.methods", String.join(",", ALL)).split(","));

  private final long seed = Long.getLong("understudy.seed", System.nanoTime());
  private final SplittableRandom random = new SplittableRandom(seed);

  static List<String> methods() {
    return METHODS;
  }

  static List<Arguments> methodsAndKinds() {
    List<Arguments> all = new ArrayList<>();
    for (String method : METHODS) {
      for (String kind : List.of("anon", "thp", "memfd", "shared", "file")) {
        all.add(Arguments.of(method, kind));
      }
    }
    return all;
  }

  private DirtyLog open(GuestMapping mapping, String method) throws IOException {
    System.out.println(method + ", seed " + seed);
    for (DirtyLogs.Availability each : DirtyLogs.probe()) {
      if (each.method().equals(method)) {
        assumeTrue(each.available(), each.reason());
      }
    }
    return DirtyLogs.open(mapping, method);
  }

  private PageSet someOf(TargetRam ram) {
    PageSet set = ram.none();
    int count = random.nextInt(200);
    for (int i = 0; i < count; i++) {
      int from = random.nextInt(ram.pages());
      set.addRange(from, Math.min(ram.pages(), from + 1 + random.nextInt(4)));
    }
    return set;
  }

  private static PageSet looked(DirtyLog log, TargetRam ram) throws IOException {
    PageSet seen = ram.none();
    log.look(seen);
    return seen;
  }

  private static PageSet rearmed(DirtyLog log, TargetRam ram) throws IOException {
    PageSet seen = ram.none();
    log.rearm(seen);
    return seen;
  }

  /** Arms until nothing is reported any more. */
  private static void settle(DirtyLog log, TargetRam ram) throws Exception {
    long deadlineNs = System.nanoTime() + 5_000_000_000L;
    while (!rearmed(log, ram).isEmpty()) {
      assertTrue(System.nanoTime() < deadlineNs, "an idle process goes on writing");
      Thread.onSpinWait();
    }
  }

  private static void covers(PageSet seen, PageSet expected) {
    PageSet missing = new PageSet(expected.capacity());
    missing.addAll(expected);
    missing.removeAll(seen);
    assertTrue(missing.isEmpty(), () -> "missed " + missing + ", first " + missing.next(0));
  }

  @ParameterizedTest
  @MethodSource("methodsAndKinds")
  void exactlyTheWrittenPagesAreReported(String method, String kind) throws Exception {
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of(kind, kind, "anon"), 1024, 333, 64);
      if (method.equals(DirtyLogs.SOFT_DIRTY)) {
        PageSet all = ram.none(); // a huge page comes into being, and is written, as a whole
        all.fill();
        ram.touch("write", all);
      } else {
        ram.touch("write", someOf(ram)); // the others are never populated
      }
      Set<String> descriptors = target.descriptors();
      try (DirtyLog log = open(ram.mapping(), method)) {
        assertEquals(method, log.method());
        assertEquals(descriptors, target.descriptors());
        assertEquals(ram.pages(), looked(log, ram).count(), "before the first arming");
        assertEquals(ram.pages(), rearmed(log, ram).count(), "at the first arming");
        settle(log, ram);
        for (int round = 0; round < 20; round++) {
          PageSet first = someOf(ram);
          ram.touch("write", first);
          ram.touch("read", someOf(ram));
          assertEquals(first, looked(log, ram), "round " + round);
          PageSet second = someOf(ram);
          ram.touch("write", second);
          second.addAll(first);
          assertEquals(second, looked(log, ram), "round " + round);
          assertEquals(second, rearmed(log, ram), "round " + round);
          assertTrue(looked(log, ram).isEmpty(), "round " + round);
        }
        PageSet all = ram.none();
        all.fill();
        ram.touch("write", all);
        assertEquals(all, rearmed(log, ram));
      }
      assertEquals(descriptors, target.descriptors());
      ram.touch("write", someOf(ram));
    }
  }

  @ParameterizedTest
  @MethodSource("methods")
  void balloonOnAnonymousMemoryIsReported(String method) throws Exception {
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of("anon", "thp"), 1024, 1024);
      PageSet all = ram.none();
      all.fill();
      ram.touch("write", all);
      try (DirtyLog log = open(ram.mapping(), method)) {
        rearmed(log, ram);
        settle(log, ram);
        for (int round = 0; round < 10; round++) {
          int from = random.nextInt(ram.pages() / 2 - 64);
          PageSet inflated = ram.discard("dontneed", from, from + 1 + random.nextInt(64));
          PageSet other = ram.discard("dontneed", 1024 + from, 1024 + from + 20);
          inflated.addAll(other);
          if (round % 2 == 1) {
            ram.touch("read", inflated); // present again, as the zero page
          }
          PageSet written = someOf(ram);
          ram.touch("write", written);
          written.addAll(inflated);
          PageSet seen = rearmed(log, ram);
          covers(seen, written);
          ram.touch("read", inflated); // deflated: still zero, as it was reported
          ram.touch("write", inflated);
          covers(rearmed(log, ram), inflated);
          ram.touch("write", all);
          settle(log, ram);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("methods")
  void holePunchedIntoSharedMemoryIsReported(String method) throws Exception {
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of("anon", "memfd"), 100, 1024);
      PageSet all = ram.none();
      all.fill();
      ram.touch("write", all);
      try (DirtyLog log = open(ram.mapping(), method)) {
        rearmed(log, ram);
        settle(log, ram);
        for (int round = 0; round < 10; round++) {
          int from = 100 + random.nextInt(900);
          PageSet punched = ram.discard("punch", from, from + 1 + random.nextInt(100));
          if (method.equals(DirtyLogs.COMPARE) && round % 2 == 1) {
            ram.touch("read", punched); // present again, zero
          }
          covers(looked(log, ram), punched);
          covers(rearmed(log, ram), punched);
          settle(log, ram);
          ram.touch("write", punched);
          assertEquals(punched, rearmed(log, ram));
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"hugetlb", "hugememfd"})
  void hugetlbPagesAreReportedWhole(String kind) throws Exception {
    Path pool = Path.of("/proc/sys/vm/nr_hugepages");
    String before = Files.readString(pool).trim();
    try {
      Files.writeString(pool, "8");
      assumeTrue(
          Integer.parseInt(Files.readString(pool).trim()) >= 8, "no 8 huge pages on this host");
    } catch (IOException e) {
      assumeTrue(false, "huge pages cannot be reserved: " + e.getMessage());
    }
    try {
      for (String method : METHODS) {
        if (DirtyLogs.probe().stream().noneMatch(a -> a.method().equals(method) && a.available())) {
          continue;
        }
        if (method.equals(DirtyLogs.SOFT_DIRTY)) {
          softDirtyRefusesHugetlb(kind);
        } else {
          hugetlbPages(method, kind);
        }
      }
    } finally {
      Files.writeString(pool, before);
    }
  }

  /** The kernel keeps no such bits for them; another log is taken. */
  private static void softDirtyRefusesHugetlb(String kind) throws Exception {
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of(kind), 512);
      IOException refused =
          assertThrows(
              IOException.class, () -> DirtyLogs.open(ram.mapping(), DirtyLogs.SOFT_DIRTY));
      assertTrue(refused.getMessage().contains("no soft-dirty bits"), refused.getMessage());
      try (DirtyLog other = DirtyLogs.open(ram.mapping())) {
        assertTrue(!other.method().equals(DirtyLogs.SOFT_DIRTY), other.method());
      }
    }
  }

  private void hugetlbPages(String method, String kind) throws Exception {
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of(kind, "anon"), 4 * 512, 50);
      try (DirtyLog log = open(ram.mapping(), method)) {
        rearmed(log, ram);
        settle(log, ram);
        for (int round = 0; round < 10; round++) {
          PageSet written = ram.none();
          written.add(random.nextInt(ram.pages()));
          ram.touch("write", written);
          PageSet seen = rearmed(log, ram);
          covers(seen, written);
          assertTrue(seen.count() <= 512, () -> method + " reports " + seen);
          settle(log, ram);
          PageSet dropped = ram.discard(kind.equals("hugetlb") ? "dontneed" : "punch", 512, 1024);
          covers(rearmed(log, ram), contentChanged(written, dropped));
          settle(log, ram);
        }
      }
    }
  }

  /** Of what was dropped only the page written before has changed: the rest was zero. */
  private static PageSet contentChanged(PageSet written, PageSet dropped) {
    PageSet both = new PageSet(written.capacity());
    both.addAll(written);
    both.retainAll(dropped);
    return both;
  }

  @ParameterizedTest
  @MethodSource("methods")
  void endOfTheProcessIsAnErrorNotSilence(String method) throws Exception {
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of("anon"), 64);
      try (DirtyLog log = open(ram.mapping(), method)) {
        rearmed(log, ram);
        target.kill();
        IOException ended = assertThrows(IOException.class, () -> rearmed(log, ram));
        assertTrue(
            ended.getMessage().contains("process " + target.pid() + " has ended"),
            ended.getMessage());
        assertThrows(IOException.class, () -> looked(log, ram));
      }
      assertThrows(IOException.class, () -> DirtyLogs.open(ram.mapping()));
    }
  }

  @Test
  void softDirtyHugePagesAreSplitSoThatAPageCostsAPage() throws Exception {
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of("thp"), 4 * HugePageSplit.PAGES);
      try (DirtyLog log = open(ram.mapping(), DirtyLogs.SOFT_DIRTY)) {
        assumeTrue(HugePageSplit.possible(), "this host does not let us split huge pages");
        rearmed(log, ram);
        settle(log, ram);
        PageSet first = ram.none();
        first.add(700);
        ram.touch("write", first); // nothing was there: a huge page
        PageSet seen = rearmed(log, ram);
        covers(seen, first);
        System.out.println("a page in untouched memory counts as " + seen.count());
        long deadlineNs = System.nanoTime() + 10_000_000_000L;
        int rounds = 0;
        do {
          assertTrue(System.nanoTime() < deadlineNs, "a page still counts as " + seen.count());
          settle(log, ram);
          ram.touch("write", first);
          seen = rearmed(log, ram);
          covers(seen, first);
          rounds++;
        } while (seen.count() != 1);
        System.out.println("as one after " + rounds + " rounds");
      }
    }
  }

  @Test
  void memoryMappedAnewIsAnErrorNotSilence() throws Exception {
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of("anon"), 64);
      try (DirtyLog log = open(ram.mapping(), DirtyLogs.PAGEMAP_SCAN)) {
        rearmed(log, ram);
        target.ask("remap %x 8".formatted(ram.mapping().addressOf(16)));
        IOException anew = assertThrows(IOException.class, () -> rearmed(log, ram));
        assertTrue(anew.getMessage().contains("EPERM"), anew.getMessage());
        assertThrows(IOException.class, () -> looked(log, ram));
      }
    }
  }

  @Test
  void bestAvailableMethodIsChosenAndEveryOtherHasAReason() throws Exception {
    List<DirtyLogs.Availability> probed = DirtyLogs.probe();
    probed.forEach(System.out::println);
    assertEquals(ALL, probed.stream().map(DirtyLogs.Availability::method).toList());
    assertTrue(probed.stream().noneMatch(a -> a.reason().isBlank()));
    String best =
        probed.stream().filter(DirtyLogs.Availability::available).findFirst().get().method();
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of("anon"), 64);
      try (DirtyLog log = DirtyLogs.open(ram.mapping())) {
        assertEquals(best, log.method());
      }
      assertThrows(
          IllegalArgumentException.class, () -> DirtyLogs.open(ram.mapping(), "crystal-ball"));
    }
  }

  /** A reader for {@link #logOpensAgainAfterItsReaderWasKilled}. */
  static final class Reader {
    private Reader() {}

    /** Process id, address and pages of one range. */
    public static void main(String[] arguments) throws Exception {
      GuestMapping mapping =
          new GuestMapping(
              Integer.parseInt(arguments[0]),
              new org.understudy.guest.GuestLayout(
                  Collections.singletonList(
                      new org.understudy.guest.RamBlock(
                          "ram", 4096L * Integer.parseInt(arguments[2])))),
              new long[] {Long.parseLong(arguments[1])});
      try (DirtyLog log = new PagemapScanLog(mapping, new Injector(mapping.pid(), ""))) {
        log.rearm(new PageSet(mapping.layout().pages()));
        System.out.println("armed");
        while (true) {
          log.rearm(new PageSet(mapping.layout().pages()));
        }
      }
    }
  }

  @Test
  void logOpensAgainAfterItsReaderWasKilled() throws Exception {
    try (Target target = new Target("writer")) {
      TargetRam ram = TargetRam.of(target, List.of("anon"), 1024);
      Set<String> descriptors = target.descriptors();
      open(ram.mapping(), DirtyLogs.PAGEMAP_SCAN).close();
      for (int round = 0; round < 3; round++) {
        try (OtherJvm reader =
            new OtherJvm(Reader.class, target.pid(), ram.mapping().hostAddress()[0], ram.pages())) {
          assertEquals("armed", reader.line());
          IOException busy =
              assertThrows(
                  IOException.class, () -> DirtyLogs.open(ram.mapping(), DirtyLogs.PAGEMAP_SCAN));
          assertTrue(busy.getMessage().contains("EBUSY"), busy.getMessage());
          ram.touch("write", someOf(ram));
          reader.kill();
        }
        ram.touch("write", someOf(ram));
        assertEquals(descriptors, target.descriptors());
        try (DirtyLog log = DirtyLogs.open(ram.mapping(), DirtyLogs.PAGEMAP_SCAN)) {
          assertEquals(ram.pages(), rearmed(log, ram).count());
          PageSet written = someOf(ram);
          ram.touch("write", written);
          assertEquals(written, rearmed(log, ram));
        }
        assertEquals(descriptors, target.descriptors());
      }
    }
  }
}
