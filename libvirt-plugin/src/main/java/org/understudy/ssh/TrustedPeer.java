package org.understudy.ssh;

/**
 * A host that this one works with.
 *
 * @param name what this host calls it
 * @param address where its daemon listens
 * @param key the only key it is accepted with, as server and as client
 */
public record TrustedPeer(String name, HostPort address, PeerKey key) {
  /** Letters, digits, dot, dash and underline; 1 to 63 characters. */
  public static final String NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}";

  /** Checks the name. */
  public TrustedPeer {
    if (!name.matches(NAME_PATTERN)) {
      throw new IllegalArgumentException(
          "'%s' is no host name, expected 1 to 63 letters, digits, dots, dashes or underlines"
              .formatted(name));
    }
  }

  /** The line of the trusted hosts' file. */
  String line() {
    return name + " " + address + " " + key.line();
  }
}
