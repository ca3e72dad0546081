/**
 * QEMU's migration stream, as its source side writes it, and the return path, as it reads it. Names
 * are those of QEMU's constants; one class for each upstream file. Read in QEMU 7.2 and 10.0.
 */
package org.understudy.qemustream;
