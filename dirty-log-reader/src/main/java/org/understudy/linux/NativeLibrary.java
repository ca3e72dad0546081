package org.understudy.linux;

import com.sun.jna.Native;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.Set;

/** What a Java process needs to make system calls through this package. */
public final class NativeLibrary {
  private NativeLibrary() {}

  /** The jars or folders of this package and of JNA. */
  public static Set<Path> classPath() {
    Set<Path> paths = new LinkedHashSet<>();
    for (Class<?> type : new Class<?>[] {Kernel.class, Native.class}) {
      try {
        paths.add(Path.of(type.getProtectionDomain().getCodeSource().getLocation().toURI()));
      } catch (URISyntaxException e) {
        throw new IllegalStateException("where " + type + " was loaded from", e);
      }
    }
    return paths;
  }
}
