package org.understudy.ssh;

import java.io.IOException;
import org.apache.sshd.client.channel.AbstractClientChannel;
import org.apache.sshd.core.CoreModuleProperties;

/** The opening end of a {@link PeerStream}: an SSH channel of a type of our own. */
final class ClientStreamChannel extends AbstractClientChannel {
  private final PeerStream stream;

  ClientStreamChannel(String name, String peer) {
    super(SshSettings.channelType(name));
    int windowBytes = SshSettings.windowBytes(name);
    CoreModuleProperties.WINDOW_SIZE.set(this, (long) windowBytes);
    stream = new PeerStream(this, "the stream '%s' to %s".formatted(name, peer), windowBytes);
  }

  PeerStream stream() {
    return stream;
  }

  @Override
  protected void doOpen() {}

  @Override
  protected void doWriteData(byte[] data, int offset, long length) throws IOException {
    stream.received(data, offset, (int) length);
  }

  @Override
  protected void doWriteExtendedData(byte[] data, int offset, long length) throws IOException {
    throw new IOException("%d bytes of extended data, expected none".formatted(length));
  }

  @Override
  public void handleEof() throws IOException {
    stream.peerEnded();
    super.handleEof();
  }

  @Override
  public void handleClose() throws IOException {
    stream.peerEnded();
    super.handleClose();
  }

  @Override
  protected void preClose() {
    super.preClose();
    stream.channelGone();
  }
}
