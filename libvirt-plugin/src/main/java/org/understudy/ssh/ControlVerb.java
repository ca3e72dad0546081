package org.understudy.ssh;

import com.fasterxml.jackson.databind.node.ObjectNode;

/** One request that peers may send on the control stream. */
@FunctionalInterface
public interface ControlVerb {
  /**
   * Does what is asked; may take long, other requests are served meanwhile.
   *
   * @param peer the asking host's name in this host's file of trusted hosts
   * @param args what came with the request
   * @return the answer; an exception's message is the answer's error sentence
   */
  ObjectNode run(String peer, ObjectNode args) throws Exception;
}
