/** Guests that prove themselves, QEMU processes to run them in, and two hosts on one machine. */
package org.understudy.testbed;
