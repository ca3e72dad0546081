/** The Medium tier: raw pages in a file on fast storage. */
package org.understudy.medium;
