package org.understudy.fence;

import java.util.UUID;

/** What has to be off: domain {@code domainName} ({@code domain}) on host {@code peer}. */
public record FenceTarget(String domainName, UUID domain, String peer) {}
