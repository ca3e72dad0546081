package org.understudy.libvirt;

import java.util.List;

/** What a check found, as one sentence: what, where, and what to do. */
public sealed interface Finding {
  String sentence();

  /** It cannot go on like this. */
  record Refused(String sentence) implements Finding {}

  /** It can, but somebody should know. */
  record Warning(String sentence) implements Finding {}

  /** Whether nothing was refused. */
  static boolean allows(List<Finding> findings) {
    return findings.stream().noneMatch(Refused.class::isInstance);
  }
}
