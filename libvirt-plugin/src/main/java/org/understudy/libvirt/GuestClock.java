package org.understudy.libvirt;

import java.time.Instant;

/**
 * A guest's wall clock, read and set through the guest's agent where one is connected. The clock
 * stands still while the guest is paused, and after a failover it is as late as the guest.
 */
public final class GuestClock {
  /** Less than this is left to the guest: an answer of the agent takes some milliseconds. */
  static final long TOLERANCE_MS = 200;

  private static final String CONNECTED =
      "/domain/devices/channel/target[@name='org.qemu.guest_agent.0' and @state='connected']/@name";

  private final LibvirtDomain domain;

  public GuestClock(LibvirtDomain domain) {
    this.domain = domain;
  }

  /** Whether the guest's agent has its channel open. */
  public boolean hasAgent() throws LibvirtFault {
    return !DomainXml.parse(domain.xml()).text(CONNECTED).isEmpty();
  }

  /**
   * How far it is behind this host's clock, in ms; negative when it is ahead.
   *
   * @throws LibvirtFault no agent answers
   */
  public long behindMs() throws LibvirtFault {
    long before = nowNs();
    long guest = domain.timeNs();
    return (before + (nowNs() - before) / 2 - guest) / 1_000_000;
  }

  /**
   * Sets it to this host's clock if it is behind by more than the agent's own inaccuracy and by at
   * most {@code atMostMs}. A guest that keeps its time by itself, or another time on purpose, is
   * left alone, and time never goes back.
   *
   * @throws LibvirtFault no agent answers, or it cannot set the time
   */
  public Found catchUp(long atMostMs) throws LibvirtFault {
    long behindMs = behindMs();
    boolean set = behindMs > TOLERANCE_MS && behindMs <= atMostMs;
    if (set) {
      domain.timeNs(nowNs());
    }
    return new Found(behindMs, set);
  }

  /**
   * What {@link #catchUp} found.
   *
   * @param behindMs how far the clock was behind
   * @param set whether it was set
   */
  public record Found(long behindMs, boolean set) {}

  private static long nowNs() {
    Instant now = Instant.now();
    return now.getEpochSecond() * 1_000_000_000 + now.getNano();
  }
}
