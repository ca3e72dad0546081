/**
 * An epoch of a running guest: the pause, the pages changed and the state of the devices at one
 * instant. Speaks to QEMU through {@link org.understudy.capture.GuestMonitor}, reads its memory
 * from outside, and leaves the guest running whatever goes wrong.
 */
package org.understudy.capture;
