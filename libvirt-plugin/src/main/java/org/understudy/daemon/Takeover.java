package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.Arrays;
import org.understudy.failover.Promotion;
import org.understudy.failover.PromotionReport;
import org.understudy.failover.PromotionSettings;
import org.understudy.guest.PageSet;
import org.understudy.tier.CommittedImage;
import org.understudy.tier.PlacementPolicy;
import org.understudy.tier.TierCounts;

/** The promotion itself: the committed image, frozen, becomes the paused guest; and its figures. */
final class Takeover {
  private Takeover() {}

  /**
   * Promotes; the most urgent pages are pushed first.
   *
   * @param start whether it runs then, or stays paused
   */
  static PromotionReport run(
      CommittedImage frozen, PausedGuest guest, PlacementPolicy policy, boolean start)
      throws IOException {
    PromotionSettings usual = PromotionSettings.defaults();
    PromotionSettings settings =
        new PromotionSettings(
            start, usual.loadDeadlineMs(), usual.startDeadlineMs(), usual.endDeadlineMs());
    return Promotion.promote(guest.loader(), frozen, urgentFirst(frozen, policy), settings);
  }

  private static int[] urgentFirst(CommittedImage image, PlacementPolicy policy) {
    PageSet candidates = new PageSet(image.layout().pages());
    for (int page = 0; page < candidates.capacity(); page++) {
      if (!image.isZero(page)) {
        candidates.add(page);
      }
    }
    int[] order = new int[candidates.count()];
    return Arrays.copyOf(order, policy.mostUrgent(candidates, order));
  }

  static ObjectNode describe(PromotionReport report, TierCounts before) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("epoch", report.epoch()).put("outcome", report.outcome().getClass().getSimpleName());
    json.put("preparedMs", report.preparedMs()).put("loadedMs", report.loadedMs());
    json.put("runningMs", report.runningMs()).put("totalMs", report.totalMs());
    json.put("residentPages", report.pages().resident());
    json.put("wantedPages", report.pages().wanted());
    json.put("wantedLoadingPages", report.wantedLoading().count());
    json.put("wantedZeroPages", report.pages().wantedZero());
    json.put("pushedPages", report.pages().pushed());
    json.put("wantedP50Us", report.demand().p50Micros());
    json.put("wantedP99Us", report.demand().p99Micros());
    json.put("wantedLongestUs", report.demand().longestMicros());
    describe(before, json);
    return json;
  }

  static void describe(TierCounts counts, ObjectNode json) {
    json.put("committed", counts.epoch()).put("guestPages", counts.pages());
    json.put("zeroPages", counts.zeroPages());
    json.put("fastPages", counts.fastPages()).put("fastLimitPages", counts.fastLimitPages());
    json.put("mediumPages", counts.mediumPages()).put("slowPages", counts.slowPages());
    json.put("slowBytes", counts.slowBytes()).put("redoPages", counts.redoPages());
    json.put("diskBytes", counts.diskBytes()).put("order", counts.policy());
    counts.trouble().ifPresent(trouble -> json.put("trouble", trouble));
  }
}
