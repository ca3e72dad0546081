/** The failover itself: a paused standby becomes the guest of a committed epoch. */
package org.understudy.failover;
