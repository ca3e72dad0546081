/**
 * The wire format between the two hosts, docs/formats/epoch-link.md: reader, writer, and the two
 * ends of a conversation.
 */
package org.understudy.link;
