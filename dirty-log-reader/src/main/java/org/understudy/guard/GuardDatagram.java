package org.understudy.guard;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Optional;
import java.util.UUID;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * The guard's heartbeat, 64 bytes, big-endian (docs/formats/guard.md).
 *
 * @param session the guard's run
 * @param sequence rises by one with each datagram of the session, from 1
 * @param guest what the guard knows of the guest
 * @param daemonAlive whether a daemon is attached to the guard and its process runs
 */
record GuardDatagram(UUID session, long sequence, GuestState guest, boolean daemonAlive) {
  static final int BYTES = 64;
  static final int KEY_BYTES = 32;
  static final int MAGIC = 0x55475244; // "UGRD"
  static final int VERSION = 1;
  private static final int SIGNED_BYTES = 32;
  private static final int DAEMON_ALIVE = 1;
  private static final int DAEMON_GONE = 2;

  byte[] encode(Mac mac) {
    ByteBuffer out = ByteBuffer.allocate(BYTES).order(ByteOrder.BIG_ENDIAN);
    out.putInt(MAGIC).put((byte) VERSION).put((byte) guest.code());
    out.put((byte) (daemonAlive ? DAEMON_ALIVE : DAEMON_GONE)).put((byte) 0);
    out.putLong(session.getMostSignificantBits()).putLong(session.getLeastSignificantBits());
    out.putLong(sequence);
    mac.update(out.array(), 0, SIGNED_BYTES);
    out.put(mac.doFinal());
    return out.array();
  }

  /** The session that a datagram claims, if it has this format's length, magic and version. */
  static Optional<UUID> claimedSession(byte[] bytes, int length) {
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.BIG_ENDIAN);
    if (length != BYTES || in.getInt(0) != MAGIC || in.get(4) != VERSION) {
      return Optional.empty();
    }
    return Optional.of(new UUID(in.getLong(8), in.getLong(16)));
  }

  /** The datagram, if its signature is right and every field valid. */
  static Optional<GuardDatagram> verify(byte[] bytes, int length, Mac mac) {
    Optional<UUID> session = claimedSession(bytes, length);
    if (session.isEmpty()) {
      return Optional.empty();
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.BIG_ENDIAN);
    mac.update(bytes, 0, SIGNED_BYTES);
    byte[] signature = new byte[BYTES - SIGNED_BYTES];
    in.get(SIGNED_BYTES, signature);
    GuestState guest = GuestState.of(in.get(5));
    int daemon = in.get(6);
    if (!MessageDigest.isEqual(mac.doFinal(), signature)
        || guest == null
        || (daemon != DAEMON_ALIVE && daemon != DAEMON_GONE)
        || in.get(7) != 0
        || in.getLong(24) <= 0) {
      return Optional.empty();
    }
    return Optional.of(
        new GuardDatagram(session.get(), in.getLong(24), guest, daemon == DAEMON_ALIVE));
  }

  static Mac mac(byte[] key) {
    if (key.length != KEY_BYTES) {
      throw new IllegalArgumentException(
          "a key of " + key.length + " bytes, expected " + KEY_BYTES);
    }
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(key, "HmacSHA256"));
      return mac;
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("this Java has no HmacSHA256", e);
    }
  }
}
