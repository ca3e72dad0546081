package org.understudy.ssh;

import java.nio.channels.ByteChannel;

/** What a host does with a stream that a peer opened; runs in a thread of its own. */
@FunctionalInterface
public interface ChannelService {
  /**
   * Serves the stream until it ends; it is closed when this returns or throws.
   *
   * @param peer the peer's name in this host's file of trusted hosts
   * @param channel blocking in both directions; -1 once the peer has closed its end
   */
  void serve(String peer, ByteChannel channel) throws Exception;
}
