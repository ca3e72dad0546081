/**
 * Output commit: what the guest sends goes out only when the epoch that it belongs to is committed.
 * A process of its own holds the packets; docs/formats/holder.md has its protocol.
 */
package org.understudy.output;
