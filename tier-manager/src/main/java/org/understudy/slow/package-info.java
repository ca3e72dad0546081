/** The Slow tier: compressed pages in a file on cheap storage. */
package org.understudy.slow;
