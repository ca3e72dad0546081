package org.understudy.standby;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.qemustream.PostcopyRam;
import org.understudy.qemustream.Ram;
import org.understudy.qemustream.RamPart;

/** A piece of work for the thread {@code standby-load}. */
sealed interface Load {
  /** Pages to place; used again after it is done. */
  final class Placement implements Load {
    final RamPart part;

    Placement(GuestLayout layout) {
      part = new RamPart(layout);
    }

    void write(StreamLink link, PageSet placed) throws IOException {
      link.write(part.finish());
      for (int i = 0; i < part.count(); i++) {
        placed.add(part.page(i));
      }
    }
  }

  /** Ranges of pages to take out; used again after it is done. */
  final class Removal implements Load {
    private static final int RANGES = 64;
    private final GuestLayout layout;
    private final byte[][] names;
    private final int[] from = new int[RANGES];
    private final int[] to = new int[RANGES];
    private final ByteBuffer command =
        ByteBuffer.allocateDirect(PostcopyRam.discardBytes(255, RANGES));
    private int count;

    Removal(GuestLayout layout) {
      this.layout = layout;
      names = Ram.names(layout);
    }

    boolean isFull() {
      return count == RANGES;
    }

    void clear() {
      count = 0;
    }

    void add(int first, int end) {
      if (count > 0 && to[count - 1] == first) {
        to[count - 1] = end;
        return;
      }
      from[count] = first;
      to[count] = end;
      count++;
    }

    void write(StreamLink link, PageSet placed) throws IOException {
      for (int i = 0; i < count; i++) {
        int page = from[i];
        while (page < to[i]) {
          int block = layout.blockOf(page);
          int first = layout.firstPage(block);
          int end = Math.min(to[i], first + layout.blocks().get(block).pages());
          command.clear();
          PostcopyRam.discard(
              command,
              names[block],
              (long) (page - first) << Pages.SHIFT,
              (long) (end - page) << Pages.SHIFT);
          link.write(command.flip());
          page = end;
        }
        placed.removeRange(from[i], to[i]);
      }
    }
  }

  /** Something happened that concerns the state. */
  record News(StandbyState.Message message) implements Load {}

  /** Work that somebody waits for; it is told when it cannot be done. */
  non-sealed interface Errand extends Load {
    void run() throws IOException;

    void refuse(IOException reason);
  }

  /** The thread ends. */
  record End() implements Load {}
}
