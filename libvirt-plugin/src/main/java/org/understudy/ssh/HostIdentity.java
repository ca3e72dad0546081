package org.understudy.ssh;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.spec.ECGenParameterSpec;
import java.util.EnumSet;
import java.util.Iterator;
import java.util.Set;
import org.apache.sshd.common.NamedResource;
import org.apache.sshd.common.config.keys.FilePasswordProvider;
import org.apache.sshd.common.config.keys.writer.openssh.OpenSSHKeyPairResourceWriter;
import org.apache.sshd.common.util.security.SecurityUtils;
import org.understudy.file.DurableFile;

/**
 * This host's own key pair: its server's host key and, towards other hosts, its client key. Kept in
 * {@code <state-dir>/host_key} in OpenSSH's format, mode 0600, made at the first start.
 */
public record HostIdentity(KeyPair keys) {
  /** Name of the private key's file in the state directory. */
  public static final String FILE = "host_key";

  private static final Set<PosixFilePermission> OTHERS =
      EnumSet.complementOf(
          EnumSet.of(
              PosixFilePermission.OWNER_READ,
              PosixFilePermission.OWNER_WRITE,
              PosixFilePermission.OWNER_EXECUTE));

  /**
   * Reads the identity, or makes it if there is none.
   *
   * @throws IOException with a sentence if the file is damaged or others may read it
   */
  public static HostIdentity loadOrCreate(Path stateDir) throws IOException {
    Path file = stateDir.resolve(FILE);
    if (!Files.exists(file)) {
      create(file);
    }
    for (PosixFilePermission permission : Files.getPosixFilePermissions(file)) {
      if (OTHERS.contains(permission)) {
        throw new IOException(
            "%s may be used by others than its owner (%s); run: chmod 600 %s"
                .formatted(file, permission, file));
      }
    }
    return load(file);
  }

  public PeerKey publicKey() {
    return new PeerKey(keys.getPublic());
  }

  private static HostIdentity load(Path file) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      Iterable<KeyPair> pairs =
          SecurityUtils.loadKeyPairIdentities(
              null, NamedResource.ofName(file.toString()), in, FilePasswordProvider.EMPTY);
      Iterator<KeyPair> found = pairs == null ? null : pairs.iterator();
      if (found == null || !found.hasNext()) {
        throw new IOException("%s holds no private key".formatted(file));
      }
      HostIdentity identity = new HostIdentity(found.next());
      identity.publicKey();
      return identity;
    } catch (GeneralSecurityException | RuntimeException e) {
      throw new IOException(
          "%s is not a readable private key: %s".formatted(file, e.getMessage()), e);
    }
  }

  private static void create(Path file) throws IOException {
    try {
      KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
      generator.initialize(new ECGenParameterSpec("secp256r1"));
      ByteArrayOutputStream pem = new ByteArrayOutputStream();
      OpenSSHKeyPairResourceWriter.INSTANCE.writePrivateKey(
          generator.generateKeyPair(), "understudy", null, pem);
      DurableFile.createNew(file, pem.toByteArray());
    } catch (GeneralSecurityException e) {
      throw new IOException("this Java cannot make a secp256r1 key: " + e.getMessage(), e);
    }
  }
}
