package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.ObjectNode;

/** One request that the CLI may send. */
@FunctionalInterface
public interface LocalVerb {
  /**
   * Does what is asked; may take long. Returning is exit code 0; an exception's message becomes the
   * line {@code error: …} and exit code 1.
   *
   * @param args the request's fields besides {@code verb}
   * @param reply where the answer goes, line by line
   */
  void run(ObjectNode args, Reply reply) throws Exception;
}
