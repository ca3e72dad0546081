package org.understudy.link;

/** The constants of docs/formats/epoch-link.md, version 1. */
final class LinkFormat {
  static final long MAGIC = 0x554E_4452_5354_5459L;
  static final int VERSION = 1;

  static final int HEADER_BYTES = 8;
  static final int MAX_PAYLOAD_BYTES = 327_680;
  static final int OPTIONAL = 0x8000;

  static final int HELLO = 1;
  static final int HELLO_REPLY = 2;
  static final int EPOCH_BEGIN = 3;
  static final int PAGES = 4;
  static final int DEVICE_STATE = 5;
  static final int EPOCH_END = 6;
  static final int EPOCH_DISCARD = 7;
  static final int COMMITTED = 8;
  static final int HEARTBEAT = 9;
  static final int GOODBYE = 10;
  static final int FAILED = 11;

  static final int ACCEPTS = 1;
  static final int REFUSES = 2;

  static final int RAW = 1;
  static final int ZERO = 2;
  static final int LZ4 = 3;

  static final int MAX_RECORDS = 64;
  static final int MAX_STRING_BYTES = 4096;
  static final int MAX_BLOCKS = 512;
  static final int MAX_DEVICE_STATE_BYTES = 16 << 20;
  static final int DEVICE_STATE_PART_BYTES = 262_144;

  private LinkFormat() {}
}
