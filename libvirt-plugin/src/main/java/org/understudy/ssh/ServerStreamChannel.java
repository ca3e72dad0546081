package org.understudy.ssh;

import java.io.IOException;
import java.util.List;
import org.apache.sshd.client.future.OpenFuture;
import org.apache.sshd.common.util.buffer.Buffer;
import org.apache.sshd.core.CoreModuleProperties;
import org.apache.sshd.server.channel.AbstractServerChannel;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The accepting end of a {@link PeerStream}; its service runs in a thread of its own. */
final class ServerStreamChannel extends AbstractServerChannel {
  private static final Logger LOG = LoggerFactory.getLogger(ServerStreamChannel.class);

  private final String name;
  private final String peer;
  private final ChannelService streamService;
  private final PeerStream stream;

  ServerStreamChannel(String name, String peer, ChannelService service) {
    super(SshSettings.channelType(name), List.of(), null);
    this.name = name;
    this.peer = peer;
    this.streamService = service;
    int windowBytes = SshSettings.windowBytes(name);
    CoreModuleProperties.WINDOW_SIZE.set(this, (long) windowBytes);
    this.stream =
        new PeerStream(this, "the stream '%s' from %s".formatted(name, peer), windowBytes);
  }

  @Override
  protected OpenFuture doInit(Buffer buffer) {
    OpenFuture opened = super.doInit(buffer);
    // The confirmation is on its way by now, so the service may answer at once.
    if (opened.isOpened()) {
      Thread thread = new Thread(this::serve, "%s-from-%s".formatted(name, peer));
      thread.setDaemon(true);
      thread.start();
    }
    return opened;
  }

  private void serve() {
    try (stream) {
      streamService.serve(peer, stream);
    } catch (Exception e) {
      LOG.warn("the stream '{}' from {} ended: {}", name, peer, e.toString());
    }
  }

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
