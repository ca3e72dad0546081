package org.understudy.capture;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.Pages;

/** A standby that is an array: pages of committed epochs only. */
final class ImageSink implements EpochSink {
  final byte[] committed;
  final List<Long> epochs = new ArrayList<>();
  final Map<Integer, byte[]> pending = new HashMap<>();
  byte[] deviceState;
  long open;
  int discarded;
  boolean broken;

  ImageSink(GuestLayout layout) {
    committed = new byte[Math.toIntExact(layout.bytes())];
  }

  @Override
  public void begin(long epoch) throws IOException {
    if (open != 0) {
      throw new IOException("epoch " + epoch + " begun within epoch " + open);
    }
    open = epoch;
    pending.clear();
  }

  @Override
  public void page(int page, ByteBuffer content) throws IOException {
    byte[] bytes = new byte[Pages.SIZE];
    content.get(bytes);
    pending.put(page, bytes);
  }

  @Override
  public void zeroPage(int page) {
    pending.put(page, new byte[Pages.SIZE]);
  }

  @Override
  public void deviceState(ByteBuffer state) throws IOException {
    if (broken) {
      throw new IOException("the sink is broken");
    }
    deviceState = new byte[state.remaining()];
    state.get(deviceState);
  }

  @Override
  public void commit() {
    pending.forEach((page, bytes) -> System.arraycopy(bytes, 0, committed, page << 12, 4096));
    epochs.add(open);
    open = 0;
  }

  @Override
  public void discard() {
    discarded++;
    open = 0;
    pending.clear();
  }
}
