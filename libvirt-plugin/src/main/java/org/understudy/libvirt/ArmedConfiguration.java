package org.understudy.libvirt;

import java.util.ArrayList;
import java.util.List;

/**
 * What a standby's live XML says of the machine: devices with their media and links, processors,
 * memory. A machine that somebody changed after it was armed is not the one that the epoch's device
 * state belongs to. Titles, metadata and tuning are the operator's.
 *
 * @param lines of the XML, as libvirt wrote them
 */
record ArmedConfiguration(List<String> lines) {

  static ArmedConfiguration of(String liveXml) {
    List<String> kept = new ArrayList<>();
    boolean inDevices = false;
    for (String line : liveXml.lines().map(String::strip).toList()) {
      inDevices |= line.equals("<devices>");
      if (inDevices || line.matches("<(memory|currentMemory|vcpu)\\b.*")) {
        kept.add(line);
      }
      inDevices &= !line.equals("</devices>");
    }
    return new ArmedConfiguration(List.copyOf(kept));
  }

  /** The first line that a later configuration has instead of this one's, or null: the same. */
  String firstChange(ArmedConfiguration later) {
    int at = 0;
    int both = Math.min(lines.size(), later.lines.size());
    while (at < both && lines.get(at).equals(later.lines.get(at))) {
      at++;
    }
    if (at == lines.size() && at == later.lines.size()) {
      return null;
    }
    return later.lines.size() < lines.size() || at == later.lines.size()
        ? "without " + lines.get(at)
        : later.lines.get(at);
  }
}
