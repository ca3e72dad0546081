package org.understudy.daemon;

import java.util.UUID;

/**
 * What this host knows about who may run a domain.
 *
 * @param generation rises by one with each failover and switchover; the host that owns the newest
 *     one may run the guest, no other
 * @param owner the host that owns the generation
 * @param role what this host is for the domain
 * @param peer the other host
 * @param settings how the domain is protected
 * @param committedEpoch last epoch known to be durable on the standby; 0 if none
 * @param autostart whether libvirt started the domain with its host before protection took that
 *     over
 */
public record Ownership(
    UUID domain,
    String domainName,
    long generation,
    String owner,
    Role role,
    String peer,
    Settings settings,
    long committedEpoch,
    boolean autostart) {
  /** What a host is for a domain; libvirt's hook reads it, too. */
  public enum Role {
    /** It owns the guest and protects it: a daemon that starts goes on with that. */
    PRIMARY,
    /** It owns the guest; protection is over, and the standby has not confirmed that yet. */
    ENDING,
    /** It owns the guest, which nobody stands by for. */
    OWNER,
    /** It stands by for the owner. */
    STANDBY,
    /** It had to do with the guest; another host owns it. */
    FORMER;

    /** Whether a host of this role may run the guest. */
    public boolean owns() {
      return switch (this) {
        case PRIMARY, ENDING, OWNER -> true;
        case STANDBY, FORMER -> false;
      };
    }
  }

  /**
   * A protection's settings.
   *
   * @param intervalMs time between epochs
   * @param fast what the standby keeps in RAM
   * @param holdOutput whether what the guest sends waits for the commit of its epoch
   */
  public record Settings(int intervalMs, Budget fast, boolean holdOutput) {}

  /** Checks the numbers. */
  public Ownership {
    if (generation < 1 || committedEpoch < 0) {
      throw new IllegalArgumentException(
          "generation %d and committed epoch %d of domain %s, expected at least 1 and 0"
              .formatted(generation, committedEpoch, domain));
    }
  }

  /** The same with the standby's newest durable epoch. */
  public Ownership withCommittedEpoch(long epoch) {
    return new Ownership(
        domain, domainName, generation, owner, role, peer, settings, epoch, autostart);
  }

  /** The same with libvirt's autostart as it was before protection. */
  public Ownership withAutostart(boolean on) {
    return new Ownership(
        domain, domainName, generation, owner, role, peer, settings, committedEpoch, on);
  }

  /** The same generation in another role. */
  public Ownership as(Role newRole) {
    return new Ownership(
        domain, domainName, generation, owner, newRole, peer, settings, committedEpoch, autostart);
  }

  /** What this host is once {@code newOwner} owns {@code newer}. */
  public Ownership lostTo(String newOwner, long newer) {
    return new Ownership(
        domain,
        domainName,
        newer,
        newOwner,
        Role.FORMER,
        newOwner,
        settings,
        committedEpoch,
        autostart);
  }

  /** Generation {@code newer}, owned by this host and not protected. */
  public Ownership ownedBy(String thisHost, long newer) {
    return new Ownership(
        domain, domainName, newer, thisHost, Role.OWNER, peer, settings, committedEpoch, autostart);
  }

  /** The next generation, owned by {@code newOwner}, for which this host has {@code newRole}. */
  public Ownership nextGeneration(String newOwner, Role newRole) {
    return new Ownership(
        domain,
        domainName,
        generation + 1,
        newOwner,
        newRole,
        peer,
        settings,
        committedEpoch,
        autostart);
  }
}
