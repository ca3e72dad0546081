package org.understudy.tier;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.function.BooleanSupplier;
import java.util.zip.CRC32C;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;

/** The committed image while it is frozen; any use after the thaw is refused. */
final class FrozenImage implements CommittedImage {
  private static final ByteBuffer ZEROS = ByteBuffer.allocateDirect(Pages.SIZE);
  // Readers are a few long-lived threads.
  private static final ThreadLocal<CRC32C> SUM = ThreadLocal.withInitial(CRC32C::new);

  private final GuestLayout layout;
  private final Tiers tiers;
  private final long epoch;
  private final byte[] deviceState;
  private final BooleanSupplier valid;

  FrozenImage(GuestLayout layout, Tiers tiers, BooleanSupplier valid) {
    this.layout = layout;
    this.tiers = tiers;
    this.valid = valid;
    epoch = tiers.epoch;
    deviceState = tiers.deviceState;
  }

  @Override
  public GuestLayout layout() {
    return layout;
  }

  @Override
  public long epoch() {
    return epoch;
  }

  @Override
  public boolean isZero(int page) {
    check();
    return tiers.index.location[page] == 0;
  }

  @Override
  public void read(int page, ByteBuffer into) throws IOException {
    check();
    if (tiers.index.location[page] == 0) {
      into.put(into.position(), ZEROS, 0, Pages.SIZE);
      into.position(into.position() + Pages.SIZE);
      return;
    }
    tiers.read(page, into, SUM.get());
  }

  @Override
  public PageSet fastPages() {
    check();
    PageSet pages = new PageSet(layout.pages());
    tiers.lock.lock();
    try {
      pages.set(tiers.index.fast);
    } finally {
      tiers.lock.unlock();
    }
    return pages;
  }

  @Override
  public ByteBuffer deviceState() {
    check();
    return ByteBuffer.wrap(deviceState.clone());
  }

  private void check() {
    if (!valid.getAsBoolean()) {
      throw new IllegalStateException("the image of epoch " + epoch + " is no longer frozen");
    }
  }
}
