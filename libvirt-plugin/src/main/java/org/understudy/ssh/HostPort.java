package org.understudy.ssh;

import java.net.InetSocketAddress;

/** A host (name, IPv4 or IPv6 address) and a TCP port. */
public record HostPort(String host, int port) {
  /**
   * Reads {@code host:port} or {@code [ipv6]:port}.
   *
   * @throws IllegalArgumentException with a sentence if the text is neither
   */
  public static HostPort parse(String text) {
    int colon = text.lastIndexOf(':');
    String host = colon < 0 ? "" : text.substring(0, colon);
    if (host.startsWith("[") && host.endsWith("]")) {
      host = host.substring(1, host.length() - 1);
    } else if (host.contains(":")) {
      host = "";
    }
    String port = text.substring(colon + 1);
    if (!host.matches("[A-Za-z0-9_.:%-]+") || !port.matches("\\d{1,5}")) {
      throw new IllegalArgumentException(
          "'%s' is no address, expected host:port or [ipv6]:port".formatted(text));
    }
    int number = Integer.parseInt(port);
    if (number > 65535) {
      throw new IllegalArgumentException(
          "port %d in '%s' is out of range, expected 0 to 65535".formatted(number, text));
    }
    return new HostPort(host, number);
  }

  /** With the name looked up; unresolved if that fails. */
  public InetSocketAddress address() {
    return new InetSocketAddress(host, port);
  }

  @Override
  public String toString() {
    return host.contains(":") ? "[" + host + "]:" + port : host + ":" + port;
  }
}
