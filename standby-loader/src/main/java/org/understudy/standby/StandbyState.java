package org.understudy.standby;

/**
 * The life of a standby guest from arming on. One message moves it one step; a message that does
 * not fit is refused by name and changes nothing.
 *
 * <pre>
 *            Placed            Promote            Ran
 *   Armed ----------&gt; Following -------&gt; Promoting ---&gt; Running &lt;-+ Interrupted, Finished
 *     |                |                  |               +--------+
 *     +----------------+------ Lost, -----+------&gt; Refused
 *                              Disturbed (not while Promoting)
 * </pre>
 */
public sealed interface StandbyState {
  /** Empty and waiting: no page is in the guest. */
  record Armed() implements StandbyState {}

  /** Pages come and go as epochs are committed. */
  record Following() implements StandbyState {}

  /**
   * An epoch is being made the guest.
   *
   * @param epoch its number
   */
  record Promoting(long epoch) implements StandbyState {}

  /**
   * The guest has its devices; it runs unless somebody stopped it.
   *
   * @param epoch the epoch it went on from
   * @param delivery how far its missing pages have come
   */
  record Running(long epoch, Delivery delivery) implements StandbyState {}

  /**
   * Not usable any more: to be rebuilt, never promoted.
   *
   * @param reason a sentence
   */
  record Refused(String reason) implements StandbyState {}

  /** Where the pages are that were not in the guest when it went on. */
  sealed interface Delivery {
    /** On their way. */
    record Pending() implements Delivery {}

    /** All there: an ordinary guest. */
    record Complete() implements Delivery {}

    /**
     * The stream broke and the guest waits at the first page that is missing, for QEMU's
     * migrate-recover.
     *
     * @param reason a sentence
     */
    record Interrupted(String reason) implements Delivery {}
  }

  /** What can happen to a standby. */
  sealed interface Message {
    /** Pages were placed or taken out. */
    record Placed() implements Message {}

    /** An epoch is to be made the guest. */
    record Promote(long epoch) implements Message {}

    /** All devices are loaded. */
    record Ran() implements Message {}

    /** The last page was delivered. */
    record Finished() implements Message {}

    /** QEMU or the stream to it is gone. */
    record Lost(String reason) implements Message {}

    /** Somebody else used the guest. */
    record Disturbed(String reason) implements Message {}
  }

  /**
   * The state after a message.
   *
   * @throws WrongMessageException the state does not take the message
   */
  static StandbyState step(StandbyState state, Message message) throws WrongMessageException {
    if (state instanceof Armed || state instanceof Following) {
      return waiting(state, message);
    }
    if (state instanceof Promoting promoting) {
      if (message instanceof Message.Ran) {
        return new Running(promoting.epoch(), new Delivery.Pending());
      }
      if (message instanceof Message.Lost lost) {
        return new Refused(lost.reason());
      }
    }
    if (state instanceof Running running && running.delivery() instanceof Delivery.Pending) {
      if (message instanceof Message.Finished) {
        return new Running(running.epoch(), new Delivery.Complete());
      }
      if (message instanceof Message.Lost lost) {
        return new Running(running.epoch(), new Delivery.Interrupted(lost.reason()));
      }
    }
    throw new WrongMessageException(state, message);
  }

  private static StandbyState waiting(StandbyState state, Message message)
      throws WrongMessageException {
    if (message instanceof Message.Placed) {
      return state instanceof Following ? state : new Following();
    }
    if (message instanceof Message.Promote promote) {
      return new Promoting(promote.epoch());
    }
    if (message instanceof Message.Lost lost) {
      return new Refused(lost.reason());
    }
    if (message instanceof Message.Disturbed disturbed) {
      return new Refused(disturbed.reason());
    }
    throw new WrongMessageException(state, message);
  }
}
