package org.understudy.libvirt;

import java.io.IOException;
import org.libvirt.LibvirtException;

/** libvirt refused a request or cannot be reached; the message says what was asked and why not. */
public final class LibvirtFault extends IOException {
  private static final long serialVersionUID = 1;

  public LibvirtFault(String sentence) {
    super(sentence);
  }

  /**
   * @param what what was asked, such as {@code starting the standby of redis}
   * @param cause libvirt's error
   */
  LibvirtFault(String what, LibvirtException cause) {
    super(what + ": " + cause.getMessage(), cause);
  }
}
