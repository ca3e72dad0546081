package org.understudy.tier;

/**
 * How one guest's tiers behave.
 *
 * @param fast limit of the pages placed in the paused guest
 * @param medium limit of the Medium file
 * @param backlogRecords committed epochs that may wait to be folded before a commit has to wait
 * @param movesPerEpoch pages moved between tiers after each commit, at most
 */
public record TierSettings(
    TierBudget fast, TierBudget medium, int backlogRecords, int movesPerEpoch) {
  /** Fast 25 % and Medium 50 % of the non-zero pages, 4 records, 16,384 moves (64 MiB). */
  public static final TierSettings DEFAULT =
      new TierSettings(TierBudget.ofPercent(25), TierBudget.ofPercent(50), 4, 16_384);

  /** Checks the numbers. */
  public TierSettings {
    if (backlogRecords < 1 || backlogRecords > 1024 || movesPerEpoch < 1) {
      throw new IllegalArgumentException(
          backlogRecords + " backlog records, " + movesPerEpoch + " moves per epoch");
    }
  }
}
