package org.understudy.tier;

import java.util.Optional;

/**
 * One moment of a guest's tiers, for status. Every page is zero, in Medium, in Slow, or still in a
 * redo record; pages in Fast are copies of those.
 *
 * @param epoch the last committed epoch, 0 for none
 * @param pages pages of the guest
 * @param zeroPages pages that hold only zeros and are stored nowhere
 * @param fastPages pages placed in the paused guest
 * @param fastLimitPages pages that Fast's budget allows now
 * @param mediumPages pages in Medium
 * @param mediumBytes bytes they take
 * @param slowPages pages in Slow
 * @param slowBytes bytes they take, compressed
 * @param redoPages pages that lie only in a redo record until they are folded
 * @param backlogRecords redo records on disk
 * @param diskBytes bytes of all files of the guest
 * @param moves work of the placement since the image was opened
 * @param policy name of the placement policy
 * @param fastAttached whether a paused guest is attached
 * @param trouble one sentence while something keeps epochs from being folded, such as a full disk
 */
public record TierCounts(
    long epoch,
    int pages,
    int zeroPages,
    int fastPages,
    int fastLimitPages,
    int mediumPages,
    long mediumBytes,
    int slowPages,
    long slowBytes,
    int redoPages,
    int backlogRecords,
    long diskBytes,
    Moves moves,
    String policy,
    boolean fastAttached,
    Optional<String> trouble) {

  /**
   * Counters that only rise.
   *
   * @param staged pages placed in Fast by the placement
   * @param demoted pages taken out of Fast
   * @param refreshed pages of Fast replaced because an epoch changed them
   * @param toMedium pages moved from Slow to Medium
   * @param toSlow pages moved from Medium to Slow
   * @param stalls commits that waited for the backlog to shrink
   * @param refused epochs refused for a full disk or a failure
   * @param fastLosses times that the paused guest stopped taking pages
   */
  public record Moves(
      long staged,
      long demoted,
      long refreshed,
      long toMedium,
      long toSlow,
      long stalls,
      long refused,
      long fastLosses) {}
}
