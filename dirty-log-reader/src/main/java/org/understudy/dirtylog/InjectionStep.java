package org.understudy.dirtylog;

/** The steps at which an injection can be cut off, in their order. */
enum InjectionStep {
  /** The thread is traced and still runs. */
  SEIZED,
  /** The thread stands still. */
  STOPPED,
  /** The way back lies on the thread's stack. */
  FRAME_WRITTEN,
  /** The thread will execute our system call next. */
  REGISTERS_SET,
  /** The thread is at the entry to our system call. */
  ENTERED,
  /** Our system call is done. */
  RETURNED,
  /** The thread goes its way. */
  DETACHED
}
