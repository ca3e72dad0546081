package org.understudy.tier;

import java.io.IOException;
import java.nio.ByteBuffer;
import net.jpountz.xxhash.StreamingXXHash64;
import net.jpountz.xxhash.XXHashFactory;
import org.understudy.guest.Pages;

/**
 * XXH64, seed 0, of all bytes of a RAM block in order: equal on both hosts exactly when the block
 * is bit-identical. Takes pages one by one and is used by one thread.
 */
public final class BlockHash {
  private static final byte[] ZEROS = new byte[Pages.SIZE];

  private final StreamingXXHash64 hash = XXHashFactory.fastestInstance().newStreamingHash64(0);
  private final byte[] page = new byte[Pages.SIZE];

  /** The hash of each block of an image, by block number. */
  public static long[] of(CommittedImage image) throws IOException {
    long[] hashes = new long[image.layout().blocks().size()];
    ByteBuffer content = ByteBuffer.allocateDirect(Pages.SIZE);
    for (int block = 0; block < hashes.length; block++) {
      BlockHash hash = new BlockHash();
      int first = image.layout().firstPage(block);
      for (int number = first; number < image.layout().firstPage(block + 1); number++) {
        if (image.isZero(number)) {
          hash.zeroPage();
        } else {
          image.read(number, content.clear());
          hash.page(content.flip());
        }
      }
      hashes[block] = hash.value();
    }
    return hashes;
  }

  /** Adds the block's next page, {@link Pages#SIZE} bytes from the buffer's position. */
  public void page(ByteBuffer content) {
    content.get(page);
    hash.update(page, 0, Pages.SIZE);
  }

  /** Adds the block's next page, of zeros. */
  public void zeroPage() {
    hash.update(ZEROS, 0, Pages.SIZE);
  }

  /** The hash of the pages so far. */
  public long value() {
    return hash.getValue();
  }
}
