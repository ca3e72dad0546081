/**
 * Linux system calls on x86-64, by JNA. The only package that calls native code. Classes are thin:
 * they keep no policy, and every failure is an {@link org.understudy.linux.ErrnoException} that
 * names the call and what it was asked for.
 */
package org.understudy.linux;
