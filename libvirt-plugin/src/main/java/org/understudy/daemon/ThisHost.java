package org.understudy.daemon;

import org.understudy.fence.Fence;
import org.understudy.libvirt.LibvirtHost;
import org.understudy.ssh.PeerClient;
import org.understudy.ssh.TrustedPeers;

/**
 * What every protection and every standby of this host works with; lives as long as the daemon.
 *
 * @param config checked
 * @param libvirt this host's libvirt
 * @param ownership who may run which domain
 * @param trusted the hosts that this one works with
 * @param peers opens connections to them
 * @param fence makes sure that another host no longer runs a guest
 * @param events what happened
 */
record ThisHost(
    DaemonConfig config,
    LibvirtHost libvirt,
    OwnershipStore ownership,
    TrustedPeers trusted,
    PeerClient peers,
    Fence fence,
    EventLog events) {

  String name() {
    return config.host().name();
  }
}
