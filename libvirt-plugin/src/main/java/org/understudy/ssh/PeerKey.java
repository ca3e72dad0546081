package org.understudy.ssh;

import java.io.IOException;
import java.security.GeneralSecurityException;
import java.security.PublicKey;
import java.util.List;
import org.apache.sshd.common.config.keys.KeyUtils;
import org.apache.sshd.common.config.keys.PublicKeyEntry;
import org.apache.sshd.common.config.keys.PublicKeyEntryResolver;
import org.apache.sshd.common.digest.BuiltinDigests;

/**
 * The public key that a host is known by, of type {@value #TYPE}: the strongest type that the JDK
 * and MINA SSHD handle between them (ed25519 in MINA needs a cryptography library besides the JDK).
 */
public record PeerKey(PublicKey key) {
  /** SSH's name of the only key type accepted. */
  public static final String TYPE = "ecdsa-sha2-nistp256";

  /** Checks the type. */
  public PeerKey {
    if (!TYPE.equals(KeyUtils.getKeyType(key))) {
      throw new IllegalArgumentException(
          "a host key of type %s, expected %s".formatted(KeyUtils.getKeyType(key), TYPE));
    }
  }

  /**
   * Reads {@code "ecdsa-sha2-nistp256 AAAA…"}, with or without a comment.
   *
   * @throws IllegalArgumentException with a sentence if the text is no such key
   */
  public static PeerKey parse(String line) {
    List<String> words = List.of(line.strip().split("\\s+"));
    if (words.size() < 2 || !words.get(0).equals(TYPE)) {
      throw new IllegalArgumentException(
          "'%s' is no host key, expected '%s AAAA…'".formatted(excerpt(line), TYPE));
    }
    try {
      PublicKey key =
          PublicKeyEntry.parsePublicKeyEntry(words.get(0) + " " + words.get(1))
              .resolvePublicKey(null, null, PublicKeyEntryResolver.FAILING);
      return new PeerKey(key);
    } catch (IOException | GeneralSecurityException | RuntimeException e) {
      throw new IllegalArgumentException(
          "'%s' is a damaged host key: %s".formatted(excerpt(line), e.getMessage()), e);
    }
  }

  /** {@code "ecdsa-sha2-nistp256 AAAA…"}. */
  public String line() {
    return PublicKeyEntry.toString(key);
  }

  /** {@code "SHA256:…"}, as ssh-keygen shows it. */
  public String fingerprint() {
    return KeyUtils.getFingerPrint(BuiltinDigests.sha256, key);
  }

  /** True if {@code other} is the same key. */
  public boolean matches(PublicKey other) {
    return KeyUtils.compareKeys(key, other);
  }

  private static String excerpt(String text) {
    return text.length() > 40 ? text.substring(0, 40) + "…" : text;
  }
}
