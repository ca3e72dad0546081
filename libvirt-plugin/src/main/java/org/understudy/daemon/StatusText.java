package org.understudy.daemon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Locale;
import java.util.Map;

/**
 * A status object as a table of two columns, with units from the names: {@code pausedMs} becomes
 * "paused … ms".
 */
final class StatusText {
  private StatusText() {}

  static String of(ObjectNode status) {
    Table table = new Table("what", "value");
    for (Map.Entry<String, JsonNode> field : status.properties()) {
      if (field.getValue().isObject()) {
        for (Map.Entry<String, JsonNode> inner : field.getValue().properties()) {
          row(table, field.getKey() + " " + inner.getKey(), inner.getValue());
        }
      } else if (!field.getValue().asText().isEmpty() && !field.getKey().equals("windowMs")) {
        // the window is a sentence beside
        row(table, field.getKey(), field.getValue());
      }
    }
    return table.toString();
  }

  private static void row(Table table, String name, JsonNode value) {
    String words = name.replaceAll("([a-z0-9])([A-Z])", "$1 $2").toLowerCase(Locale.ROOT);
    if (name.endsWith("Ms") && value.isNumber()) {
      table.row(words.substring(0, words.length() - 3), Table.millis(value.asDouble()));
    } else if (name.endsWith("Us") && value.isNumber()) {
      table.row(
          words.substring(0, words.length() - 3),
          String.format(Locale.ROOT, "%.0f µs", value.asDouble()));
    } else if (name.endsWith("Bytes") && value.isNumber()) {
      table.row(words.substring(0, words.length() - 6), Table.bytes(value.asLong()));
    } else {
      table.row(words, value.asText());
    }
  }
}
