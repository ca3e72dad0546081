package org.understudy.qemustream;

import java.nio.ByteBuffer;
import java.util.Arrays;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.Pages;

/**
 * One SECTION_PART of RAM under construction, in a direct buffer that is used again and again. The
 * first page names its block, the following ones of the same block are CONTINUE. One thread at a
 * time.
 */
public final class RamPart {
  /** Pages with content in one part: enough for full speed, little enough to be overtaken. */
  public static final int CONTENT_PAGES = 16;

  /** Pages in one part, of which all but {@link #CONTENT_PAGES} are zero pages of 9 bytes each. */
  public static final int PAGES = 128;

  private static final int HEAD_BYTES = 5;
  private static final int TAIL_BYTES = 8 + 5;
  private static final int ENTRY_BYTES = 8 + 1 + 255;

  private final GuestLayout layout;
  private final byte[][] names;
  private final ByteBuffer buffer =
      ByteBuffer.allocateDirect(
          HEAD_BYTES + PAGES * (ENTRY_BYTES + 1) + CONTENT_PAGES * Pages.SIZE + TAIL_BYTES);
  private final int[] pages = new int[PAGES];
  private int count;
  private int contentCount;
  private int block;
  private int entryAt;
  private int contentAt;

  /** An empty part for pages of {@code layout}. */
  public RamPart(GuestLayout layout) {
    this.layout = layout;
    names = Ram.names(layout);
    clear();
  }

  /** Begins anew. */
  public void clear() {
    buffer.clear();
    buffer.put(Savevm.QEMU_VM_SECTION_PART).putInt(Ram.RAM_SECTION_ID);
    count = 0;
    contentCount = 0;
    block = -1;
    contentAt = -1;
  }

  /** Number of pages in the part. */
  public int count() {
    return count;
  }

  /** Whether another page of any kind has room. */
  public boolean hasRoom() {
    return count < PAGES && contentCount < CONTENT_PAGES;
  }

  /** Page number of page {@code index} of this part, in the order added. */
  public int page(int index) {
    if (index >= count) {
      throw new IndexOutOfBoundsException("page " + index + " of a part with " + count);
    }
    return pages[index];
  }

  /** Adds a page of zeros. */
  public void zero(int page) {
    entry(page, Ram.RAM_SAVE_FLAG_ZERO);
    buffer.put((byte) 0);
    pages[count++] = page;
  }

  /**
   * Adds a page.
   *
   * @param content {@link Pages#SIZE} bytes from its position, which advances
   */
  public void content(int page, ByteBuffer content) {
    if (content.remaining() < Pages.SIZE) {
      throw new IllegalArgumentException(
          "page " + page + " with " + content.remaining() + " bytes, expected " + Pages.SIZE);
    }
    ByteBuffer room = reserve(page);
    room.put(room.position(), content, content.position(), Pages.SIZE);
    room.position(room.position() + Pages.SIZE);
    content.position(content.position() + Pages.SIZE);
    confirm();
  }

  /**
   * Begins a page whose content the caller puts into the buffer returned, exactly {@link
   * Pages#SIZE} bytes at its position, and then calls {@link #confirm} or {@link #withdraw}.
   */
  public ByteBuffer reserve(int page) {
    entryAt = buffer.position();
    int before = block;
    entry(page, Ram.RAM_SAVE_FLAG_PAGE);
    contentAt = buffer.position();
    pages[count] = page;
    blockBefore = before;
    return buffer;
  }

  private int blockBefore;

  /** The reserved page has its content. */
  public void confirm() {
    if (contentAt < 0 || buffer.position() != contentAt + Pages.SIZE) {
      throw new IllegalStateException(
          "page "
              + pages[count]
              + " got "
              + (buffer.position() - contentAt)
              + " bytes, expected "
              + Pages.SIZE);
    }
    contentAt = -1;
    count++;
    contentCount++;
  }

  /** The reserved page does not come; the part is as before {@link #reserve}. */
  public void withdraw() {
    buffer.position(entryAt);
    block = blockBefore;
    contentAt = -1;
  }

  /** Ends the part: its bytes, from position to limit, until {@link #clear}. */
  public ByteBuffer finish() {
    buffer.putLong(Ram.RAM_SAVE_FLAG_EOS);
    Savevm.sectionFooter(buffer, Ram.RAM_SECTION_ID);
    return buffer.flip();
  }

  private void entry(int page, int kind) {
    if (!hasRoom() || contentAt >= 0) {
      throw new IllegalStateException("page " + page + " into the full part " + this);
    }
    int of = layout.blockOf(page);
    long offset = (long) (page - layout.firstPage(of)) << Pages.SHIFT;
    if (of == block) {
      buffer.putLong(offset | kind | Ram.RAM_SAVE_FLAG_CONTINUE);
    } else {
      buffer.putLong(offset | kind).put((byte) names[of].length).put(names[of]);
      block = of;
    }
  }

  @Override
  public String toString() {
    return count
        + " pages, "
        + contentCount
        + " with content: "
        + Arrays.toString(Arrays.copyOf(pages, count));
  }
}
