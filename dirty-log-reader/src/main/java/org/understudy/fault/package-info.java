/** Named points at which a campaign makes a process of ours, or of others, die or hang. */
package org.understudy.fault;
