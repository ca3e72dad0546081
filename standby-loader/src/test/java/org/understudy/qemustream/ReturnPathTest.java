package org.understudy.qemustream;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.understudy.guest.GuestLayout;
import org.understudy.guest.RamBlock;

class ReturnPathTest {
  private static final GuestLayout LAYOUT =
      new GuestLayout(List.of(new RamBlock("pc.ram", 300 * 4096), new RamBlock("b", 4096)));

  private static final class Heard implements ReturnPath.Receiver {
    final List<String> messages = new ArrayList<>();

    @Override
    public void pong(int number) {
      messages.add("pong " + number);
    }

    @Override
    public void requested(int first, int count) {
      assertTrue(first >= 0 && count > 0 && first + count <= LAYOUT.pages());
      assertEquals(LAYOUT.blockOf(first), LAYOUT.blockOf(first + count - 1));
      messages.add("wants " + first + " " + count);
    }

    @Override
    public void shut(int error) {
      messages.add("shut " + error);
    }

    @Override
    public void received(int first, long bits) {
      for (int page = 0; page < 64; page++) {
        if ((bits >>> page & 1) != 0) {
          assertEquals(LAYOUT.blockOf(first), LAYOUT.blockOf(first + page));
          messages.add("has " + (first + page));
        }
      }
    }

    @Override
    public void resumed() {
      messages.add("resumed");
    }
  }

  /** As QEMU writes it: little-endian words, whatever bytes the caller has put. */
  private static ByteBuffer bitmap(String name, long size, long end, int... receivedPages) {
    byte[] chars = name.getBytes(StandardCharsets.UTF_8);
    ByteBuffer out = ByteBuffer.allocate(4 + 1 + chars.length + 8 + 1000 + 8);
    out.putShort((short) 5).putShort((short) (1 + chars.length));
    out.put((byte) chars.length).put(chars).putLong(size);
    int at = out.position();
    for (int page : receivedPages) {
      out.put(at + page / 8, (byte) (out.get(at + page / 8) | 1 << page % 8));
    }
    return out.position(at + (int) Math.min(1000, size)).putLong(end).flip();
  }

  private static final long END = 0x0123456789abcdefL;

  private static ByteBuffer resumeAck(int value) {
    return ByteBuffer.allocate(8).putShort((short) 6).putShort((short) 4).putInt(value).flip();
  }

  private static String refusalInRecovery(ByteBuffer message) {
    return assertThrows(
            ReturnPathException.class,
            () -> ReturnPath.ofRecovery(LAYOUT).read(message, new Heard()))
        .getMessage();
  }

  @Test
  void whatHasBeenReceivedIsHeardInWhateverPiecesItComes() throws ReturnPathException {
    ByteBuffer all = ByteBuffer.allocate(1000);
    all.put(bitmap("pc.ram", 40, END, 0, 63, 64, 70, 299)).put(bitmap("b", 8, END, 0));
    all.put(resumeAck(1)).put(request("b", 0, 4096)).flip();
    List<String> expected =
        List.of(
            "has 0", "has 63", "has 64", "has 70", "has 299", "has 300", "resumed", "wants 300 1");
    for (int piece = 1; piece <= all.limit(); piece++) {
      ReturnPath path = ReturnPath.ofRecovery(LAYOUT);
      Heard heard = new Heard();
      ByteBuffer in = ByteBuffer.allocate(ReturnPath.LONGEST_BYTES + piece);
      for (int at = 0; at < all.limit(); at += piece) {
        in.put(all.duplicate().position(at).limit(Math.min(all.limit(), at + piece))).flip();
        path.read(in, heard);
        in.compact();
      }
      assertEquals(expected, heard.messages, "in pieces of " + piece);
    }
  }

  @Test
  void bitmapsThatQemuDoesNotSendAreRefusedWithTheirValues() {
    assertTrue(refusal(bitmap("b", 8, END, 0)).contains("type 5"));
    assertTrue(refusal(resumeAck(1)).contains("type 6"));
    assertTrue(refusalInRecovery(bitmap("pc.ram", 48, END)).contains("0x30"));
    assertTrue(refusalInRecovery(bitmap("pc.ram", 1L << 60, END)).contains("0x1000000000000000"));
    assertTrue(refusalInRecovery(bitmap("pc.ram", 40, END - 1)).contains("0x123456789abcdee"));
    assertTrue(refusalInRecovery(bitmap("pc.ram", 40, END, 300)).contains("beyond its 300"));
    assertTrue(refusalInRecovery(bitmap("nosuch", 8, END)).contains("\"nosuch\""));
    assertTrue(refusalInRecovery(resumeAck(2)).contains("with 2"));
  }

  private static ByteBuffer request(String name, long offset, int bytes) {
    byte[] chars = name == null ? new byte[0] : name.getBytes(StandardCharsets.UTF_8);
    int length = 12 + (name == null ? 0 : 1 + chars.length);
    ByteBuffer out = ByteBuffer.allocate(4 + length);
    out.putShort((short) (name == null ? 4 : 3)).putShort((short) length);
    out.putLong(offset).putInt(bytes);
    if (name != null) {
      out.put((byte) chars.length).put(chars);
    }
    return out.flip();
  }

  private static String refusal(ByteBuffer... messages) {
    ReturnPath path = new ReturnPath(LAYOUT);
    return assertThrows(
            ReturnPathException.class,
            () -> {
              for (ByteBuffer message : messages) {
                path.read(message, new Heard());
              }
            })
        .getMessage();
  }

  @Test
  void messagesAreHeardInWhateverPiecesTheyCome() throws ReturnPathException {
    ByteBuffer all = ByteBuffer.allocate(200);
    all.put(request("pc.ram", 0x3000, 4096)).put(request(null, 0x5000, 8192));
    all.putShort((short) 2).putShort((short) 4).putInt(77);
    all.put(request("b", 0, 4096)).put(request(null, 0, 4096));
    all.putShort((short) 1).putShort((short) 4).putInt(0).flip();
    List<String> expected =
        List.of("wants 3 1", "wants 5 2", "pong 77", "wants 300 1", "wants 300 1", "shut 0");
    for (int piece = 1; piece <= all.limit(); piece++) {
      ReturnPath path = new ReturnPath(LAYOUT);
      Heard heard = new Heard();
      ByteBuffer in = ByteBuffer.allocate(ReturnPath.LONGEST_BYTES + piece);
      for (int at = 0; at < all.limit(); at += piece) {
        in.put(all.duplicate().position(at).limit(Math.min(all.limit(), at + piece))).flip();
        path.read(in, heard);
        in.compact();
      }
      assertEquals(expected, heard.messages);
      assertEquals(0, in.position());
    }
  }

  @Test
  void requestsThatQemuDoesNotMakeAreRefusedWithTheirValues() {
    assertTrue(refusal(request(null, 0, 4096)).contains("before any block was named"));
    assertTrue(refusal(request("nosuch", 0, 4096)).contains("\"nosuch\""));
    assertTrue(refusal(request("pc.ram", 0, 2 << 20)).contains("huge pages"));
    assertTrue(refusal(request("pc.ram", 300 * 4096, 4096)).contains("0x12c000"));
    assertTrue(refusal(request("pc.ram", 299 * 4096, 8192)).contains("8192 bytes"));
    assertTrue(refusal(request("pc.ram", 12, 4096)).contains("0xc"));
    assertTrue(refusal(request("pc.ram", -4096, 4096)).contains("0xfffffffffffff000"));
    assertTrue(refusal(request("pc.ram", 0, 0)).contains("0 bytes"));
    assertTrue(refusal(request("pc.ram", 0, 100)).contains("100 bytes"));
    assertTrue(refusal(request("pc.ram", 0, -4096)).contains("huge pages"));
    assertTrue(refusal(request("pc.ram", 0, 4096).putShort(2, (short) 18)).contains("name"));
    assertTrue(refusal(request("pc.ram", 0, 4096).putShort(0, (short) 9)).contains("type 9"));
    assertTrue(refusal(request("pc.ram", 0, 4096).putShort(2, (short) -1)).contains("65535"));
    assertTrue(refusal(request("pc.ram", 0, 4096).putShort(0, (short) 2)).contains("type 2"));
  }

  @Test
  void randomBytesEndInAMessageOrInARefusal() {
    long seed = System.nanoTime();
    System.out.println("ReturnPathTest seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    int refused = 0;
    int heard = 0;
    for (int round = 0; round < 40_000; round++) {
      ByteBuffer in = ByteBuffer.allocate(300);
      ReturnPath path = new ReturnPath(LAYOUT);
      while (in.remaining() > 40 && random.nextInt(5) > 0) {
        ByteBuffer message =
            request(
                random.nextInt(3) == 0 ? null : random.nextInt(2) == 0 ? "pc.ram" : "b",
                (long) random.nextInt(310) << 12,
                random.nextInt(10) == 0 ? random.nextInt() : 4096);
        if (random.nextInt(4) == 0) {
          int at = random.nextInt(message.limit());
          message.put(at, (byte) random.nextInt());
        }
        in.put(message);
      }
      in.flip();
      Heard messages = new Heard();
      try {
        path.read(in, messages);
        assertTrue(in.remaining() < ReturnPath.LONGEST_BYTES);
      } catch (ReturnPathException expected) {
        refused++;
      }
      heard += messages.messages.size();
    }
    assertTrue(refused > 1000 && heard > 1000, refused + " refused, " + heard + " heard");
  }
}
