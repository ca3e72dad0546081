/** Commands of QEMU's machine protocol as text, and its replies: no transport of its own. */
package org.understudy.qmp;
