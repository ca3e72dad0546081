package org.understudy.daemon;

/**
 * The answer to a request of the CLI. Nothing here blocks or throws: whoever asked may go away, or
 * stop reading, without holding up what was asked for.
 */
public interface Reply {
  /** A line (or several) for standard output. */
  void out(String text);

  /** A line (or several) for standard error: warnings, progress. */
  void err(String text);

  /** False once nobody listens; verbs that only tell ({@code events --follow}) then end. */
  boolean isOpen();
}
