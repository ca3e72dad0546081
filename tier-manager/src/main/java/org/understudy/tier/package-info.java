/** Where each page of the last committed epoch is: commit, index, placement. */
package org.understudy.tier;
