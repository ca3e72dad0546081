/**
 * The guard: a small process beside each protected guest that outlives the daemon. It ends a pause
 * whose deadline has passed, whatever became of the daemon, and answers for the guest to the
 * standby host by a second path. Formats: docs/formats/guard.md.
 */
package org.understudy.guard;
