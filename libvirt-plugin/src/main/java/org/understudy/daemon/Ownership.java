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
 */
public record Ownership(
    UUID domain,
    String domainName,
    long generation,
    String owner,
    Role role,
    String peer,
    Settings settings,
    long committedEpoch) {
  /** What a host is for a domain. */
  public enum Role {
    PRIMARY,
    STANDBY
  }

  /** A protection's settings. */
  public record Settings(int intervalMs, Budget fast) {}

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
    return new Ownership(domain, domainName, generation, owner, role, peer, settings, epoch);
  }

  /** The next generation, owned by {@code newOwner}, for which this host has {@code newRole}. */
  public Ownership nextGeneration(String newOwner, Role newRole) {
    return new Ownership(
        domain, domainName, generation + 1, newOwner, newRole, peer, settings, committedEpoch);
  }
}
