/**
 * The vocabulary of a protected guest: its RAM blocks, its pages, sets of pages, and epochs.
 * Closed: a type belongs here only if it would exist with one host, no model and no tiers. Knows
 * nothing but the JDK.
 */
package org.understudy.guest;
