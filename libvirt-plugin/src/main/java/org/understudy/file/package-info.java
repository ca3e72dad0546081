/** Files that survive whatever dies while they are written. */
package org.understudy.file;
