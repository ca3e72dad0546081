package org.understudy.daemon;

import java.io.IOException;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import org.apache.commons.configuration2.INIConfiguration;
import org.apache.commons.configuration2.SubnodeConfiguration;
import org.apache.commons.configuration2.ex.ConfigurationException;

/** The values of one INI file by {@code section.key}, with sentences for what is wrong in them. */
final class ConfigFile {
  private final Path file;
  private final Map<String, String> values;
  private final Set<String> read = new HashSet<>();

  private ConfigFile(Path file, Map<String, String> values) {
    this.file = file;
    this.values = values;
  }

  static ConfigFile read(Path file) throws IOException {
    INIConfiguration ini = new INIConfiguration();
    // Values are taken as they stand: ${…} means nothing here.
    ini.setInterpolator(null);
    try (Reader reader = Files.newBufferedReader(file)) {
      ini.read(reader);
    } catch (NoSuchFileException e) {
      throw new IOException(
          "%s does not exist; docs/understudy.conf is a sample to start from".formatted(file), e);
    } catch (ConfigurationException e) {
      throw new IOException("%s cannot be read: %s".formatted(file, e.getMessage()), e);
    }
    Map<String, String> values = new HashMap<>();
    for (String section : ini.getSections()) {
      if (section == null) {
        throw new IOException(
            "%s has a key before its first [section]; expected [host], [libvirt], [protect], [fence] or [tiers]"
                .formatted(file));
      }
      SubnodeConfiguration keys = ini.getSection(section);
      keys.getKeys()
          .forEachRemaining(
              key -> {
                List<Object> found = keys.getList(key);
                values.put(
                    section + "." + key.replace("..", "."),
                    found.size() == 1 ? found.get(0).toString() : found.toString());
              });
    }
    return new ConfigFile(file, values);
  }

  static String kernelHostName() {
    try {
      return Files.readString(Path.of("/proc/sys/kernel/hostname")).strip();
    } catch (IOException e) {
      return "localhost";
    }
  }

  boolean has(String key) {
    return values.containsKey(key);
  }

  IOException wrong(String key, String expected) {
    return new IOException(
        values.containsKey(key)
            ? "%s: %s is '%s', expected %s".formatted(file, key, values.get(key), expected)
            : "%s: %s is missing, expected %s".formatted(file, key, expected));
  }

  String required(String key, String expected) throws IOException {
    read.add(key);
    String value = values.get(key);
    if (value == null || value.isBlank()) {
      throw wrong(key, expected);
    }
    return value.strip();
  }

  int number(String key, int standard, int lowest, int highest) throws IOException {
    String text = text(key, Integer.toString(standard));
    if (text.matches("\\d{1,9}")) {
      int number = Integer.parseInt(text);
      if (number >= lowest && number <= highest) {
        return number;
      }
    }
    throw wrong(key, "a whole number from %d to %d".formatted(lowest, highest));
  }

  boolean yes(String key, boolean standard) throws IOException {
    return switch (text(key, standard ? "yes" : "no")) {
      case "yes" -> true;
      case "no" -> false;
      default -> throw wrong(key, "yes or no");
    };
  }

  String matching(String key, String standard, String pattern, String expected) throws IOException {
    String text = text(key, standard);
    if (!text.matches(pattern)) {
      throw wrong(key, expected);
    }
    return text;
  }

  <T> T parsed(String key, String standard, Function<String, T> parser) throws IOException {
    try {
      return parser.apply(text(key, standard));
    } catch (IllegalArgumentException e) {
      throw new IOException("%s: %s: %s".formatted(file, key, e.getMessage()), e);
    }
  }

  Path path(String key, String standard) throws IOException {
    return Path.of(matching(key, standard, "/[^\\x00]*", "an absolute path"));
  }

  Path executable(String key) throws IOException {
    Path path = path(key, "");
    if (!Files.isRegularFile(path) || !Files.isExecutable(path)) {
      throw wrong(key, "a file that exists and may be executed");
    }
    return path;
  }

  void refuseUnread() throws IOException {
    Set<String> unknown = new TreeSet<>(values.keySet());
    unknown.removeAll(read);
    if (!unknown.isEmpty()) {
      String key = unknown.iterator().next();
      throw new IOException(
          "%s: %s is unknown (found '%s'), expected one of %s"
              .formatted(file, key, values.get(key), String.join(", ", new TreeSet<>(read))));
    }
  }

  private String text(String key, String standard) {
    read.add(key);
    return values.getOrDefault(key, standard).strip();
  }
}
