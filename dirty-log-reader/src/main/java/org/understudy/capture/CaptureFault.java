package org.understudy.capture;

import java.io.IOException;
import org.understudy.capture.CaptureOutcome.Fault;

/** A step of a capture failed, and which kind of step. */
final class CaptureFault extends IOException {
  private static final long serialVersionUID = 1;

  private final Fault fault;

  CaptureFault(Fault fault, String sentence, Throwable cause) {
    super(sentence, cause);
    this.fault = fault;
  }

  CaptureFault(Fault fault, String sentence) {
    this(fault, sentence, null);
  }

  static CaptureFault of(Fault fault, Throwable cause) {
    String sentence = cause.getMessage();
    return new CaptureFault(
        cause instanceof MonitorBusy ? Fault.BUSY : fault,
        sentence == null ? cause.toString() : sentence,
        cause);
  }

  Fault fault() {
    return fault;
  }
}
