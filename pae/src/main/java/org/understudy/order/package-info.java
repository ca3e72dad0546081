/**
 * Orders of pages by urgency. Empty until page history and rehearsals exist: the tiers' own
 * recency-and-frequency policy serves until then.
 */
package org.understudy.order;
