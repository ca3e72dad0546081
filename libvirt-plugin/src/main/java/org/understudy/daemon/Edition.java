package org.understudy.daemon;

/**
 * The guest as it was described at one time: its devices, its RAM blocks. An epoch can be resumed
 * only by a QEMU that was made from the edition under which it was captured.
 *
 * @param order the description
 * @param folder name of the folder, beside the others, that holds its image; editions with the same
 *     RAM blocks share one
 * @param afterEpoch committed epochs above this one belong to it
 */
record Edition(GuestOrder order, String folder, long afterEpoch) {
  private static final long AS_OPENED = -1;

  /** The first one of a guest. */
  static Edition first(GuestOrder order) {
    return new Edition(order, order.primary().uuid().toString(), 0);
  }

  /**
   * The next one. If the RAM blocks are the same the image goes on, otherwise there is a new one
   * and the old one stays for the time being.
   */
  Edition next(GuestOrder changed) {
    if (changed.layout().equals(order.layout())) {
      return new Edition(changed, folder, AS_OPENED);
    }
    String plain = order.primary().uuid().toString();
    return new Edition(changed, folder.equals(plain) ? plain + ".2" : plain, 0);
  }

  /** The same, now that its image is open and has {@code committed} as its last epoch. */
  Edition opened(long committed) {
    return afterEpoch == AS_OPENED ? new Edition(order, folder, committed) : this;
  }

  /** The same with another description of the same QEMU. */
  Edition with(GuestOrder described) {
    return new Edition(described, folder, afterEpoch);
  }
}
