/**
 * The wire format between hosts, both directions: docs/formats/epoch-link.md. Knows byte channels,
 * not sockets.
 */
package org.understudy.link;
