/** The paused standby guest: armed, followed, watched, and given away once for a promotion. */
package org.understudy.standby;
