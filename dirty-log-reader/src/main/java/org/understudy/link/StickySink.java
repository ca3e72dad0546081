package org.understudy.link;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.understudy.guest.EpochSink;

/**
 * A sink whose failure within an epoch (a full disk) ends that epoch, not the link: the rest of the
 * epoch is dropped and its commit throws what went wrong.
 */
final class StickySink implements EpochSink {
  private final EpochSink sink;
  private IOException failure;

  StickySink(EpochSink sink) {
    this.sink = sink;
  }

  private interface Step {
    void run() throws IOException;
  }

  private void step(Step step) throws IOException {
    if (failure == null) {
      try {
        step.run();
      } catch (IOException e) {
        failure = e;
        sink.discard();
      }
    }
  }

  @Override
  public void begin(long epoch) throws IOException {
    failure = null;
    step(() -> sink.begin(epoch));
  }

  @Override
  public void page(int page, ByteBuffer content) throws IOException {
    if (failure == null) { // no lambda: this is called for each page
      try {
        sink.page(page, content);
      } catch (IOException e) {
        failure = e;
        sink.discard();
      }
    }
  }

  @Override
  public void zeroPage(int page) throws IOException {
    if (failure == null) {
      try {
        sink.zeroPage(page);
      } catch (IOException e) {
        failure = e;
        sink.discard();
      }
    }
  }

  @Override
  public void deviceState(ByteBuffer state) throws IOException {
    step(() -> sink.deviceState(state));
  }

  @Override
  public void commit() throws IOException {
    if (failure == null) {
      sink.commit();
    } else {
      throw failure;
    }
  }

  @Override
  public void discard() throws IOException {
    if (failure == null) {
      sink.discard();
    }
  }
}
