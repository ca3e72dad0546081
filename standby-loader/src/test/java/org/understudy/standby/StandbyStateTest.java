package org.understudy.standby;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.understudy.standby.StandbyState.Armed;
import org.understudy.standby.StandbyState.Delivery;
import org.understudy.standby.StandbyState.Following;
import org.understudy.standby.StandbyState.Message;
import org.understudy.standby.StandbyState.Promoting;
import org.understudy.standby.StandbyState.Refused;
import org.understudy.standby.StandbyState.Running;

class StandbyStateTest {
  private static final StandbyState PENDING = new Running(3, new Delivery.Pending());
  private static final StandbyState COMPLETE = new Running(3, new Delivery.Complete());
  private static final StandbyState BROKEN = new Running(3, new Delivery.Interrupted("cut"));
  private static final List<StandbyState> STATES =
      List.of(
          new Armed(),
          new Following(),
          new Promoting(3),
          PENDING,
          COMPLETE,
          BROKEN,
          new Refused("old"));
  private static final Message PLACED = new Message.Placed();
  private static final Message PROMOTE = new Message.Promote(3);
  private static final Message RAN = new Message.Ran();
  private static final Message FINISHED = new Message.Finished();
  private static final Message LOST = new Message.Lost("cut");
  private static final Message DISTURBED = new Message.Disturbed("cut");
  private static final List<Message> MESSAGES =
      List.of(PLACED, PROMOTE, RAN, FINISHED, LOST, DISTURBED);

  /** All steps there are; whatever is not here is refused. */
  private static Map<List<Object>, StandbyState> steps() {
    Map<List<Object>, StandbyState> steps = new HashMap<>();
    for (StandbyState waiting : List.of(new Armed(), new Following())) {
      steps.put(List.of(waiting, PLACED), new Following());
      steps.put(List.of(waiting, PROMOTE), new Promoting(3));
      steps.put(List.of(waiting, LOST), new Refused("cut"));
      steps.put(List.of(waiting, DISTURBED), new Refused("cut"));
    }
    steps.put(List.of(new Promoting(3), RAN), PENDING);
    steps.put(List.of(new Promoting(3), LOST), new Refused("cut"));
    steps.put(List.of(PENDING, FINISHED), COMPLETE);
    steps.put(List.of(PENDING, LOST), BROKEN);
    return steps;
  }

  @Test
  void everyStateTakesExactlyItsOwnMessages() throws WrongMessageException {
    Map<List<Object>, StandbyState> steps = steps();
    int refused = 0;
    for (StandbyState state : STATES) {
      for (Message message : MESSAGES) {
        StandbyState expected = steps.get(List.of(state, message));
        if (expected != null) {
          assertEquals(expected, StandbyState.step(state, message), state + " " + message);
          continue;
        }
        refused++;
        WrongMessageException wrong =
            assertThrows(WrongMessageException.class, () -> StandbyState.step(state, message));
        assertTrue(wrong.getMessage().contains(state.toString()), wrong.getMessage());
        assertTrue(wrong.getMessage().contains(message.toString()), wrong.getMessage());
      }
    }
    assertEquals(STATES.size() * MESSAGES.size() - 12, refused);
  }
}
