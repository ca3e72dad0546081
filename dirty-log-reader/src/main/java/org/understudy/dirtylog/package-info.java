/**
 * Which pages did the guest write? A {@link org.understudy.dirtylog.DirtyLog} watches the RAM
 * blocks of one QEMU process; three methods exist, chosen by what the host's kernel can do.
 */
package org.understudy.dirtylog;
