package org.understudy.e2e;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import org.understudy.failover.ArmedStandby;
import org.understudy.guest.EpochSink;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.PageSet;
import org.understudy.guest.Pages;
import org.understudy.link.Goodbye;
import org.understudy.link.Hello;
import org.understudy.link.LinkReceiver;
import org.understudy.link.LinkSender;
import org.understudy.linux.ProcessMemory;
import org.understudy.medium.MediumFile;
import org.understudy.slow.SlowFile;
import org.understudy.standby.StandbySettings;
import org.understudy.testbed.QemuGuest;
import org.understudy.tier.BlockHash;
import org.understudy.tier.CommittedImage;
import org.understudy.tier.RecencyFrequency;
import org.understudy.tier.StandbyImage;
import org.understudy.tier.TierSettings;

/**
 * An image in real files and a paused QEMU at the far end of a real socket, and the primary's end
 * of it.
 */
final class FollowingStandby implements LinkReceiver.Followed, AutoCloseable {
  private static final String MACHINE = "pc-q35-7.2";
  private static final long READ_NS = 5_000_000_000L;

  final StandbyImage image;
  final LinkSender sender;
  private final CompletableFuture<Void> serving;
  private final ArmedStandby paused;

  /** Number of pages whose content {@link #hashes} took from the paused QEMU, the last time. */
  int residentPages;

  FollowingStandby(Path folder, GuestLayout layout, QemuGuest primary) throws IOException {
    image =
        StandbyImage.create(
            folder,
            layout,
            TierSettings.DEFAULT,
            new RecencyFrequency(layout.pages()),
            new StandbyImage.Stores(
                new MediumFile(folder.resolve("medium")), new SlowFile(folder.resolve("slow"))));
    paused = new ArmedStandby(primary, layout, MACHINE, true, StandbySettings.defaults());
    image.attach(paused.loader);
    Path path = folder.resolve("link");
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(path));
      SocketChannel near = SocketChannel.open(UnixDomainSocketAddress.of(path));
      SocketChannel far = server.accept();
      serving = CompletableFuture.runAsync(() -> serve(far), task -> thread(task).start());
      UUID domain = UUID.randomUUID();
      Hello hello = new Hello(UUID.randomUUID(), domain, "proof", 1, 0, MACHINE, layout);
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

  /**
   * Hashes of the blocks of the last committed epoch: of the pages in Fast as they lie in the
   * memory of the paused QEMU, of the others as Medium, Slow or the redo records have them.
   *
   * @param expected what they should become while QEMU reads what was sent to it last
   */
  long[] hashes(long epoch, long[] expected) throws IOException {
    CommittedImage frozen = image.freeze();
    try {
      if (frozen.epoch() != epoch) {
        throw new IOException("the image is at epoch " + frozen.epoch() + ", not " + epoch);
      }
      paused.loader.flush();
      long deadline = System.nanoTime() + READ_NS;
      long[] hashes = hashes(frozen);
      while (!Arrays.equals(hashes, expected) && System.nanoTime() < deadline) {
        hashes = hashes(frozen);
      }
      return hashes;
    } finally {
      image.thaw();
    }
  }

  private long[] hashes(CommittedImage frozen) throws IOException {
    PageSet fast = frozen.fastPages();
    residentPages = fast.count();
    ProcessMemory memory = new ProcessMemory(paused.qemu.pid());
    ByteBuffer content = ByteBuffer.allocateDirect(Pages.SIZE);
    long[] hashes = new long[frozen.layout().blocks().size()];
    for (int block = 0; block < hashes.length; block++) {
      BlockHash hash = new BlockHash();
      int end = frozen.layout().firstPage(block + 1);
      for (int page = frozen.layout().firstPage(block); page < end; page++) {
        if (fast.contains(page)) {
          memory.read(paused.mapping.addressOf(page), content.clear());
          hash.page(content.flip());
        } else if (frozen.isZero(page)) {
          hash.zeroPage();
        } else {
          frozen.read(page, content.clear());
          hash.page(content.flip());
        }
      }
      hashes[block] = hash.value();
    }
    return hashes;
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
    image.detach();
    paused.close();
    image.close();
  }
}
