package org.understudy.guest;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * Where an epoch goes: the link on the primary, the tiers on the standby. An epoch is the guest at
 * one instant, given as the pages changed since the last epoch and the state of all devices.
 *
 * <p>Calls come from one thread, in this order: {@link #begin}, any number of {@link #page}, {@link
 * #zeroPage} and one {@link #deviceState}, then {@link #commit} or {@link #discard}. A page may
 * come more than once within an epoch; the last one counts. Nothing of an epoch is visible before
 * its commit. Epoch numbers rise; a number that was discarded may come again.
 */
public interface EpochSink {
  /** Starts epoch {@code epoch}, a positive number higher than any committed one. */
  void begin(long epoch) throws IOException;

  /**
   * A changed page.
   *
   * @param page page number in the guest's layout
   * @param content {@link Pages#SIZE} bytes from its position; consumed or copied before this
   *     returns
   */
  void page(int page, ByteBuffer content) throws IOException;

  /** A changed page that now holds only zeros. */
  void zeroPage(int page) throws IOException;

  /**
   * The state of all devices at the epoch's instant.
   *
   * @param state QEMU's xen-save-devices-state file, from magic to EOF; consumed or copied before
   *     this returns
   */
  void deviceState(ByteBuffer state) throws IOException;

  /**
   * All of the epoch has been given. When the sink is the standby's, the epoch is durable on
   * return.
   */
  void commit() throws IOException;

  /** Forgets the epoch begun last. */
  void discard() throws IOException;
}
