/** The daemon of a host: its configuration, its local socket, its durable state. */
package org.understudy.daemon;
