package org.understudy.libvirt;

import java.io.IOException;
import java.time.Duration;
import org.understudy.testbed.Domain;
import org.understudy.testbed.GuestImages;
import org.understudy.testbed.SerialLog;
import org.understudy.testbed.TwoHosts;
import org.understudy.testbed.TwoHosts.Host;

/** Two hosts with a connection to each. */
final class LibvirtBed implements AutoCloseable {
  static final Duration BOOT = Duration.ofMinutes(2);

  final TwoHosts hosts;
  final LibvirtHost a;
  final LibvirtHost b;

  LibvirtBed() throws IOException {
    hosts = TwoHosts.up();
    try {
      a = LibvirtHost.open(hosts.uri(Host.A));
      b = LibvirtHost.open(hosts.uri(Host.B));
    } catch (IOException e) {
      hosts.close();
      throw e;
    }
  }

  /** A guest of 192 MiB that proves itself. */
  static Domain proof(String name) {
    return Domain.of(name, GuestImages.proof()).memoryMib(192).kernel("proof.size=16");
  }

  /** Starts a domain on host A and waits until its guest is ready. */
  LibvirtDomain startOnA(Domain domain) throws Exception {
    hosts.start(Host.A, domain);
    serialOnA(domain.name()).await("proof ready", BOOT);
    return a.domain(domain.name());
  }

  SerialLog serialOnA(String name) {
    return hosts.serial(Host.A, name);
  }

  QemuConf conf(Host host) throws IOException {
    return QemuConf.read(hosts.outside(host, "etc", "qemu.conf"));
  }

  @Override
  public void close() throws IOException {
    a.close();
    b.close();
    hosts.close();
  }
}
