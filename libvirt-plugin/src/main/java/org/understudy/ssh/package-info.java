/**
 * The wire between daemons: SSH with both sides' keys pinned, byte streams by name, and the control
 * protocol.
 */
package org.understudy.ssh;
