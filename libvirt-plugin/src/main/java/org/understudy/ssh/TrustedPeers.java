package org.understudy.ssh;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.PublicKey;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.understudy.file.DurableFile;

/**
 * The hosts this one trusts: {@code <state-dir>/trusted-hosts}, one a line, {@code name host:port
 * keytype key}; it is known_hosts and authorized_keys at once. The file is read anew at each
 * question, so a host that is enrolled or removed counts from the next connection on.
 */
public final class TrustedPeers {
  /** Name of the file in the state directory. */
  public static final String FILE = "trusted-hosts";

  private static final String HEADER =
      "# Hosts that understudy trusts, as server and as client: name address:port keytype key\n";

  private final Path file;

  public TrustedPeers(Path stateDir) {
    this.file = stateDir.resolve(FILE);
  }

  /**
   * All of them, in the file's order.
   *
   * @throws IOException with a sentence naming file and line if one is wrong
   */
  public List<TrustedPeer> all() throws IOException {
    List<String> lines;
    try {
      lines = Files.readAllLines(file);
    } catch (NoSuchFileException e) {
      return List.of();
    }
    List<TrustedPeer> peers = new ArrayList<>();
    for (int i = 0; i < lines.size(); i++) {
      String line = lines.get(i).strip();
      if (line.isEmpty() || line.startsWith("#")) {
        continue;
      }
      TrustedPeer peer;
      try {
        peer = parse(line);
        checkUnique(peers, peer);
      } catch (IllegalArgumentException e) {
        throw new IOException("%s, line %d: %s".formatted(file, i + 1, e.getMessage()), e);
      }
      peers.add(peer);
    }
    return List.copyOf(peers);
  }

  /**
   * The host called {@code name}.
   *
   * @throws IOException with a sentence if there is none
   */
  public TrustedPeer named(String name) throws IOException {
    for (TrustedPeer peer : all()) {
      if (peer.name().equals(name)) {
        return peer;
      }
    }
    throw new IOException(
        "the host '%s' is not trusted here (not in %s); run: understudy trust %s HOST:PORT"
            .formatted(name, file, name));
  }

  /** The host known by {@code key}. */
  public Optional<TrustedPeer> withKey(PublicKey key) throws IOException {
    return all().stream().filter(peer -> peer.key().matches(key)).findFirst();
  }

  /**
   * Adds a host, or gives it a new address. Durable on return.
   *
   * @throws IOException with a sentence if its name or key already belongs to another
   */
  public void add(TrustedPeer peer) throws IOException {
    List<TrustedPeer> peers = new ArrayList<>(all());
    peers.removeIf(
        known -> known.name().equals(peer.name()) && known.key().matches(peer.key().key()));
    try {
      checkUnique(peers, peer);
    } catch (IllegalArgumentException e) {
      throw new IOException(
          "%s: %s; remove that one first with: understudy untrust NAME"
              .formatted(file, e.getMessage()),
          e);
    }
    peers.add(peer);
    write(peers);
  }

  /**
   * Removes a host. Durable on return.
   *
   * @throws IOException with a sentence if there is none of that name
   */
  public void remove(String name) throws IOException {
    TrustedPeer gone = named(name);
    List<TrustedPeer> peers = new ArrayList<>(all());
    peers.remove(gone);
    write(peers);
  }

  private void write(List<TrustedPeer> peers) throws IOException {
    StringBuilder text = new StringBuilder(HEADER);
    for (TrustedPeer peer : peers) {
      text.append(peer.line()).append('\n');
    }
    DurableFile.replace(file, text.toString().getBytes(StandardCharsets.UTF_8));
  }

  private static TrustedPeer parse(String line) {
    String[] words = line.split("\\s+", 3);
    if (words.length < 3) {
      throw new IllegalArgumentException(
          "found '%s', expected 'name address:port keytype key'".formatted(line));
    }
    return new TrustedPeer(words[0], HostPort.parse(words[1]), PeerKey.parse(words[2]));
  }

  private static void checkUnique(List<TrustedPeer> peers, TrustedPeer peer) {
    for (TrustedPeer other : peers) {
      if (other.name().equals(peer.name())) {
        throw new IllegalArgumentException(
            "the name '%s' is taken by the key %s"
                .formatted(other.name(), other.key().fingerprint()));
      }
      if (other.key().matches(peer.key().key())) {
        throw new IllegalArgumentException(
            "the key %s is already trusted as '%s'"
                .formatted(other.key().fingerprint(), other.name()));
      }
    }
  }
}
