/** The command {@code understudy}: asks the daemon over its local socket and prints the answer. */
package org.understudy.cli;
