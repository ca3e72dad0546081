package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.capture.PauseGuard;
import org.understudy.guard.ProcessIdentity;
import org.understudy.libvirt.LibvirtDomain;
import org.understudy.libvirt.NetworkFilters;
import org.understudy.output.HolderLine;
import org.understudy.output.HolderSettings;

/**
 * The output of one protected guest, held until the epoch is committed in which it was sent: marks
 * each pause in the stream of packets and lets them out up to the mark when its epoch is committed.
 * A holder that ends is replaced; output goes out uncommitted meanwhile, and everybody is told.
 */
final class OutputHold implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(OutputHold.class);

  /**
   * How long the end of a pause may wait for the mark; without it the packets wait an epoch more.
   */
  private static final long MARK_MS = 2;

  private static final long DRAIN_MS = 1000;
  private static final long RETRY_MS = 2000;
  private static final int EPOCHS = 16;

  private final ThisHost host;
  private final LibvirtDomain domain;
  private final GuardLine guard;
  private final int qemuPid;
  private final Path file;
  private final Object installation = new Object(); // filters come and go under this
  private final long[] epochs = new long[EPOCHS];
  private final long[] marks = new long[EPOCHS];
  private long epoch; // the capture thread's: the one that is captured now
  private long lastMark;
  private long sinceMark;
  // under this
  private long committed;
  private long unmarked;
  private volatile boolean closed;
  private volatile HolderLine line;
  private volatile NetworkFilters filters;
  private volatile boolean held;

  private OutputHold(ThisHost host, LibvirtDomain domain, GuardLine guard, int qemuPid) {
    this.host = host;
    this.domain = domain;
    this.guard = guard;
    this.qemuPid = qemuPid;
    file = host.config().host().stateDir().resolve("holders").resolve(domain.uuid() + ".holder");
  }

  /**
   * Holds a guest's output: goes on with the holder that an earlier daemon left, or starts one.
   * From the first commit on output is held.
   *
   * @throws IOException with a sentence; nothing is left in QEMU
   */
  static OutputHold open(ThisHost host, LibvirtDomain domain, GuardLine guard, int qemuPid)
      throws IOException {
    OutputHold hold = new OutputHold(host, domain, guard, qemuPid);
    if (!hold.attach()) {
      NetworkFilters.removeLeftovers(domain);
      hold.install();
    }
    return hold;
  }

  /** Attaches to the holder that is there, if it holds what has to be held. */
  private boolean attach() {
    if (!Files.exists(file)) {
      return false;
    }
    try {
      HolderSettings left = HolderSettings.read(file);
      List<String> interfaces = NetworkFilters.interfaces(domain);
      HolderLine attached = HolderLine.attach(left, new Listener());
      if (left.qemu().equals(ProcessIdentity.of(qemuPid))
          && left.interfaces().equals(String.join(",", interfaces))
          && left.limitMs() == host.config().protect().hold().limitMs()) {
        filters = new NetworkFilters(domain, interfaces, left.session());
        guard.watchOutput(attached.process(), file);
        line = attached;
        return true;
      }
      attached.finish();
      attached.close();
    } catch (IOException e) {
      LOG.debug("{}: no holder to attach to: {}", domain.name(), e.toString());
    }
    return false;
  }

  private void install() throws IOException {
    List<String> interfaces = NetworkFilters.interfaces(domain);
    DaemonConfig.Hold config = host.config().protect().hold();
    String session = Integer.toHexString(new SecureRandom().nextInt() >>> 8);
    Path socket =
        host.config().host().runDir().resolve("h-" + domain.uuid().toString().substring(0, 13));
    HolderSettings settings =
        new HolderSettings(
            session,
            ProcessIdentity.of(qemuPid),
            socket,
            String.join(",", interfaces),
            config.limitMs(),
            config.bytes());
    NetworkFilters fresh = new NetworkFilters(domain, interfaces, session);
    HolderLine started = start(settings);
    boolean inserted = false;
    try {
      Files.writeString(file.resolveSibling(file.getFileName() + ".release"), fresh.removal());
      // Watched before QEMU is led there: from then on somebody answers for it.
      guard.watchOutput(started.process(), file);
      for (int i = 0; i < interfaces.size(); i++) {
        fresh.insert(interfaces.get(i), socket, HolderLine.sends(i), HolderLine.takesBack(i));
      }
      inserted = true;
    } finally {
      if (!inserted) {
        started.finish();
        started.close();
        fresh.remove();
      }
    }
    filters = fresh;
    held = false;
    line = started;
  }

  private HolderLine start(HolderSettings settings) throws IOException {
    if (GuardScope.available()) {
      long bytes = (long) settings.bytes() * settings.interfaces().split(",", -1).length;
      try {
        List<String> launcher = GuardScope.holderLauncher(settings.session(), bytes);
        return HolderLine.start(settings, file, launcher, new Listener());
      } catch (IOException e) {
        host.events()
            .add(
                domain.name(),
                "the holder of output has no control group of its own and ends with the daemon's: "
                    + e.getMessage());
      }
    }
    return HolderLine.start(settings, file, GuardScope.SESSION, new Listener());
  }

  /** The guard's calls, and the place of each pause in the stream of packets. */
  PauseGuard around(PauseGuard pauses) {
    return new PauseGuard() {
      @Override
      public void begin(int pipeFd) throws IOException {
        sinceMark = lastMark + 1;
        mark(); // good enough, should the next one be late
        pauses.begin(pipeFd);
      }

      @Override
      public void firstByte() throws IOException {
        pauses.firstByte();
        mark();
      }

      @Override
      public void ending() {
        pauses.ending();
        remember();
      }

      @Override
      public boolean endedInTime() throws IOException {
        return pauses.endedInTime();
      }
    };
  }

  /** The next pauses belong to epoch {@code number}. */
  void begun(long number) {
    epoch = number;
  }

  private void mark() {
    HolderLine now = line;
    if (now != null) {
      try {
        now.mark(++lastMark);
      } catch (IOException e) {
        LOG.debug("{}: no mark: {}", domain.name(), e.toString());
      }
    }
  }

  /**
   * In the pause still: a mark that is taken by now has nothing before it that was sent after the
   * pause. A later pause of the same epoch moves it on.
   */
  private void remember() {
    HolderLine now = line;
    long taken = now == null ? 0 : now.marked(lastMark, MARK_MS);
    synchronized (this) {
      if (taken >= sinceMark) {
        epochs[(int) (epoch % EPOCHS)] = epoch;
        marks[(int) (epoch % EPOCHS)] = taken;
      } else {
        unmarked++;
      }
    }
  }

  /** Epoch {@code number} is durable on the standby: what was sent before its pause may go out. */
  void committed(long number) {
    long mark = 0;
    synchronized (this) {
      for (int i = 0; i < EPOCHS; i++) {
        if (epochs[i] > committed && epochs[i] <= number) {
          mark = Math.max(mark, marks[i]);
        }
      }
      committed = Math.max(committed, number);
    }
    HolderLine now = line;
    if (mark > 0 && now != null) {
      try {
        now.release(mark);
      } catch (IOException e) {
        LOG.debug("{}: nothing to release: {}", domain.name(), e.toString());
      }
    }
  }

  /** Whether output is held at this moment. */
  boolean held() {
    return held && line != null;
  }

  /** Adds figures for status; any thread. */
  void describe(ObjectNode json) {
    ObjectNode output = json.putObject("output");
    HolderLine now = line;
    output.put("state", held() ? "held until committed" : "going out uncommitted");
    if (now != null) {
      HolderLine.Counts counts = now.counts();
      output.put("addedP50Ms", counts.p50Us() / 1000.0).put("addedP99Ms", counts.p99Us() / 1000.0);
      output.put("heldPackets", counts.heldPackets()).put("heldBytes", counts.bytes());
      output.put("passedPackets", counts.passed()).put("droppedPackets", counts.dropped());
      output.put("letGoUncommitted", counts.letGo());
    }
    synchronized (this) {
      output.put("unmarkedPauses", unmarked);
    }
  }

  private final class Listener implements HolderLine.Listener {
    @Override
    public void holds(boolean now, String why) {
      if (held != now && !closed) {
        held = now;
        host.events()
            .add(
                domain.name(),
                now
                    ? "output is held until its epoch is committed"
                    : "OUTPUT GOES OUT UNCOMMITTED: " + why);
      }
    }

    @Override
    public void ended() {
      line = null;
      held = false;
      host.events()
          .add(
              domain.name(),
              "OUTPUT GOES OUT UNCOMMITTED: the process that held it has ended; what it held is"
                  + " lost, another one is started");
      replace();
    }
  }

  /** Until it works: nothing of the guest waits for it. */
  private void replace() {
    boolean told = false;
    while (true) {
      synchronized (installation) {
        if (closed) {
          return;
        }
        try {
          if (filters != null) {
            filters.remove();
          }
          install();
          return;
        } catch (IOException e) {
          if (!told) {
            told = true;
            host.events().add(domain.name(), "output cannot be held: " + e.getMessage());
          }
        }
      }
      try {
        Thread.sleep(RETRY_MS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  /** Output is held no longer: what is held goes out, the filters are taken away. */
  void finish() {
    boolean interrupted = Thread.interrupted(); // it would close the channels that are used here
    synchronized (installation) {
      closed = true;
      HolderLine now = line;
      line = null;
      attempt("telling the guard", guard::forgetOutput);
      if (now != null) {
        attempt("letting out what is held", () -> letOut(now));
      }
      attempt("removing filters", filters::remove);
      if (now != null) {
        attempt("ending the holder", now::finish);
        now.close();
      }
      attempt("removing " + file, () -> Files.deleteIfExists(file));
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private interface Step {
    void run() throws IOException;
  }

  private void attempt(String what, Step step) {
    try {
      step.run();
    } catch (IOException e) {
      LOG.info("{}: {}: {}", domain.name(), what, e.getMessage());
    }
  }

  private void letOut(HolderLine holder) throws IOException {
    holder.open();
    filters.stopSending();
    long deadlineNs = System.nanoTime() + DRAIN_MS * 1_000_000;
    try {
      do {
        holder.stats();
        Thread.sleep(10);
      } while (holder.counts().bytes() > 0 && System.nanoTime() - deadlineNs < 0);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** Lets go of the holder, which stays. */
  @Override
  public void close() {
    closed = true;
    HolderLine now = line;
    if (now != null) {
      now.close();
    }
  }
}
