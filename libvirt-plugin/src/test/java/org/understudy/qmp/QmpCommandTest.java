package org.understudy.qmp;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import org.junit.jupiter.api.Test;

class QmpCommandTest {
  @Test
  void argumentsAreWrittenAsJson() {
    QmpCommand command =
        QmpCommand.of("migrate-incoming", QmpCommand.arguments().put("uri", "unix:/a\"b"));
    assertEquals(
        "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"unix:/a\\\"b\"}}",
        command.text());
  }

  @Test
  void aReplyIsItsReturnOrARefusalWithQemusSentence() throws Exception {
    QmpCommand command = QmpCommand.parse("{\"execute\":\"query-status\"}");
    assertTrue(
        command.result("{\"return\":{\"running\":true},\"id\":\"7\"}").get("running").asBoolean());
    QmpRefusal refusal =
        assertThrows(
            QmpRefusal.class,
            () ->
                command.result(
                    "{\"id\":\"7\",\"error\":{\"class\":\"GenericError\",\"desc\":\"no such\"}}"));
    assertEquals("QEMU refused query-status: no such", refusal.getMessage());
    assertEquals("GenericError", refusal.errorClass());
  }

  @Test
  void whatIsNoReplyIsAFault() {
    QmpCommand command = QmpCommand.of("stop");
    for (String text : new String[] {"{}", "", "[]", "{\"return\":", "nonsense"}) {
      IOException fault = assertThrows(IOException.class, () -> command.result(text), text);
      assertFalse(fault instanceof QmpRefusal);
    }
    assertThrows(IOException.class, () -> QmpCommand.parse("{\"command\":\"stop\"}"));
    assertThrows(IOException.class, () -> QmpCommand.parse("stop"));
  }
}
