package org.understudy.e2e;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestLayout;
import org.understudy.link.Goodbye;
import org.understudy.link.Hello;
import org.understudy.link.LinkReceiver;
import org.understudy.link.LinkSender;
import org.understudy.medium.MediumFile;
import org.understudy.slow.SlowFile;
import org.understudy.tier.BlockHash;
import org.understudy.tier.RecencyFrequency;
import org.understudy.tier.StandbyImage;
import org.understudy.tier.TierSettings;

/** An image in real files at the far end of a real socket, and the primary's end of it. */
final class FollowingStandby implements LinkReceiver.Followed, AutoCloseable {
  final StandbyImage image;
  final LinkSender sender;
  private final CompletableFuture<Void> serving;

  FollowingStandby(Path folder, GuestLayout layout) throws IOException {
    image =
        StandbyImage.create(
            folder,
            layout,
            TierSettings.DEFAULT,
            new RecencyFrequency(layout.pages()),
            new StandbyImage.Stores(
                new MediumFile(folder.resolve("medium")), new SlowFile(folder.resolve("slow"))));
    Path path = folder.resolve("link");
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(path));
      SocketChannel near = SocketChannel.open(UnixDomainSocketAddress.of(path));
      SocketChannel far = server.accept();
      serving = CompletableFuture.runAsync(() -> serve(far), task -> thread(task).start());
      UUID domain = UUID.randomUUID();
      Hello hello = new Hello(UUID.randomUUID(), domain, "proof", 1, 0, "pc-q35-7.2", layout);
      sender = new LinkSender(near, hello, 100, System::nanoTime);
    }
  }

  private static Thread thread(Runnable task) {
    Thread thread = new Thread(task, "standby-link");
    thread.setDaemon(true);
    return thread;
  }

  private void serve(SocketChannel channel) {
    try (channel) {
      new LinkReceiver(channel, 100, System::nanoTime).serve((hello, receiver) -> this);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Hashes of the blocks of the last committed epoch, from wherever its pages lie. */
  long[] hashes(long epoch) throws IOException {
    var frozen = image.freeze();
    try {
      if (frozen.epoch() != epoch) {
        throw new IOException("the image is at epoch " + frozen.epoch() + ", not " + epoch);
      }
      return BlockHash.of(frozen);
    } finally {
      image.thaw();
    }
  }

  @Override
  public long committedEpoch() {
    return image.epoch();
  }

  @Override
  public EpochSink sink() {
    return image;
  }

  @Override
  public void goodbye(Goodbye reason, String sentence) {}

  @Override
  public void close() throws IOException {
    sender.close();
    serving.exceptionally(broken -> null).join();
    image.close();
  }
}
