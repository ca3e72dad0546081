package org.understudy.link;

/** Every constant of the epoch link, with the names of docs/formats/epoch-link.md. */
public final class LinkFormat {
  /** "UNDRLINK". */
  public static final long MAGIC = 0x554E44524C494E4BL;

  /** The version written and the only one read. */
  public static final int VERSION = 1;

  /** Bit of a frame type: who does not know the type must refuse the frame. */
  public static final int MANDATORY = 0x80;

  /** Primary to standby, first: session, guest, generation, layout. */
  public static final int HELLO = 0x81;

  /** Standby to primary, first: accepted or refused. */
  public static final int HELLO_REPLY = 0x82;

  /** An epoch begins. */
  public static final int EPOCH_BEGIN = 0x83;

  /** A batch of pages. */
  public static final int PAGES = 0x84;

  /** A part of the device state. */
  public static final int DEVICE_STATE = 0x85;

  /** An epoch is complete: counts and checksum. */
  public static final int EPOCH_END = 0x86;

  /** The epoch begun is to be forgotten. */
  public static final int EPOCH_DISCARD = 0x87;

  /** Standby to primary: an epoch is durable. */
  public static final int COMMITTED = 0x88;

  /** The last frame of a side. */
  public static final int GOODBYE = 0x89;

  /** Standby to primary: an epoch, and so every later one, could not be stored. */
  public static final int FAILED = 0x8B;

  /** A side lives. */
  public static final int HEARTBEAT = 0x0A;

  /** Verdict of HELLO_REPLY: epochs may come. */
  public static final int ACCEPTED = 1;

  /** Verdict of HELLO_REPLY: nothing may come. */
  public static final int REFUSED = 2;

  /** Page kind: 4096 bytes follow. */
  public static final int RAW = 1;

  /** Page kind: a run of zero pages. */
  public static final int ZERO = 2;

  /** Page kind: a raw LZ4 block follows. */
  public static final int LZ4 = 3;

  /** Bytes of a frame header: u8 type, u24 reserved, u32 length, u32 body check, u32 its check. */
  public static final int HEADER_BYTES = 16;

  /** Bytes of the longest frame. */
  public static final int MAX_FRAME_BYTES = 128 << 10;

  /** Bytes of the longest body. */
  public static final int MAX_BODY_BYTES = MAX_FRAME_BYTES - HEADER_BYTES;

  /** Bytes of a page record before its content: u32 page, u8 kind, u24 value. */
  public static final int RECORD_BYTES = 8;

  /** Most records in a PAGES frame. */
  public static final int MAX_RECORDS = 256;

  /** Most pages in a run of zero pages. */
  public static final int MAX_RUN = 0xFFFFFF;

  /** Bytes of the largest device state. */
  public static final int MAX_DEVICE_STATE_BYTES = 64 << 20;

  /** Most RAM blocks in a hello. */
  public static final int MAX_BLOCKS = 256;

  /** Bytes of the longest name: domain, machine type, RAM block. */
  public static final int MAX_NAME_BYTES = 255;

  /** Bytes of the longest sentence. */
  public static final int MAX_SENTENCE_BYTES = 1024;

  /** Most complete epochs without COMMITTED. */
  public static final int MAX_UNACKNOWLEDGED = 64;

  /** Feature bits this side knows; none in version 1. */
  public static final int KNOWN_FEATURES = 0;

  /** Epoch flags this side knows; none in version 1. */
  public static final int KNOWN_EPOCH_FLAGS = 0;

  /** The epoch flags that must be known. */
  public static final int REQUIRED_EPOCH_FLAGS = 0xFF00;

  private LinkFormat() {}

  /** Whether a reader of this version knows the frame type. */
  static boolean isKnown(int type) {
    return (type >= HELLO && type <= GOODBYE) || type == FAILED || type == HEARTBEAT;
  }

  /** Name of a frame type for sentences. */
  static String name(int type) {
    return switch (type) {
      case HELLO -> "HELLO";
      case HELLO_REPLY -> "HELLO_REPLY";
      case EPOCH_BEGIN -> "EPOCH_BEGIN";
      case PAGES -> "PAGES";
      case DEVICE_STATE -> "DEVICE_STATE";
      case EPOCH_END -> "EPOCH_END";
      case EPOCH_DISCARD -> "EPOCH_DISCARD";
      case COMMITTED -> "COMMITTED";
      case GOODBYE -> "GOODBYE";
      case FAILED -> "FAILED";
      case HEARTBEAT -> "HEARTBEAT";
      default -> String.format("0x%02x", type);
    };
  }
}
