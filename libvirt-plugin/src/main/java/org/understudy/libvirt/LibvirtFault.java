package org.understudy.libvirt;

import java.io.IOException;
import org.libvirt.Error.ErrorNumber;
import org.libvirt.LibvirtException;

/** libvirt refused a request or cannot be reached; the message says what was asked and why not. */
public final class LibvirtFault extends IOException {
  private static final long serialVersionUID = 1;

  /** VIR_ERR_OPERATION_TIMEOUT: another job of the domain was not over in time. */
  private static final int OPERATION_TIMEOUT = 68;

  private final boolean busy;

  public LibvirtFault(String sentence) {
    this(sentence, 0);
  }

  /** The same with libvirt's code of the error. */
  LibvirtFault(String sentence, int code) {
    super(sentence);
    busy = code == OPERATION_TIMEOUT;
  }

  /**
   * @param what what was asked, such as {@code starting the standby of redis}
   * @param cause libvirt's error
   */
  LibvirtFault(String what, LibvirtException cause) {
    super(what + ": " + cause.getMessage(), cause);
    busy =
        cause.getError() != null
            && cause.getError().getCode() == ErrorNumber.VIR_ERR_OPERATION_TIMEOUT;
  }

  /** Whether libvirt only had no time for it, because of another job of the domain. */
  public boolean isBusy() {
    return busy;
  }
}
