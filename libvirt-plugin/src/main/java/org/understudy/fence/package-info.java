/** Making sure that a host no longer runs a guest. */
package org.understudy.fence;
