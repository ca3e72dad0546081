package org.understudy.link;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.understudy.guest.EpochSink;

/**
 * The standby's sink until it fails for the first time (a full disk). That epoch is discarded, and
 * neither it nor any epoch after it, which builds on it, reaches the sink any more.
 */
final class FirstFailure implements EpochSink {
  private final EpochSink sink;
  private IOException failure;

  FirstFailure(EpochSink sink) {
    this.sink = sink;
  }

  /** What the sink threw, null if nothing. */
  IOException failure() {
    return failure;
  }

  private void failed(IOException e) {
    failure = e;
    try {
      sink.discard();
    } catch (IOException also) {
      e.addSuppressed(also);
    }
  }

  @Override
  public void begin(long epoch) {
    if (failure == null) {
      try {
        sink.begin(epoch);
      } catch (IOException e) {
        failed(e);
      }
    }
  }

  @Override
  public void page(int page, ByteBuffer content) {
    if (failure == null) {
      try {
        sink.page(page, content);
      } catch (IOException e) {
        failed(e);
      }
    }
  }

  @Override
  public void zeroPage(int page) {
    if (failure == null) {
      try {
        sink.zeroPage(page);
      } catch (IOException e) {
        failed(e);
      }
    }
  }

  @Override
  public void deviceState(ByteBuffer state) {
    if (failure == null) {
      try {
        sink.deviceState(state);
      } catch (IOException e) {
        failed(e);
      }
    }
  }

  @Override
  public void commit() {
    if (failure == null) {
      try {
        sink.commit();
      } catch (IOException e) {
        failed(e);
      }
    }
  }

  @Override
  public void discard() throws IOException {
    if (failure == null) {
      sink.discard();
    }
  }
}
