package org.understudy.libvirt;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class NetworkFiltersTest {
  /** QEMU's own words; no machine of the tests has vhost. */
  @Test
  void vhostIsRefusedWithWhatToDo() {
    assertEquals(
        "the output of interface net1 of domain web cannot be held: its packets go through vhost in"
            + " the kernel and pass QEMU by; give the interface <driver name='qemu'/> and plug it"
            + " anew, or leave --hold-output out",
        NetworkFilters.refusal("web", "net1", "Vhost is not supported"));
  }

  @Test
  void anythingElseIsRefusedInQemusWords() {
    assertEquals(
        "the output of interface net0 of domain web cannot be held: no such netdev; leave"
            + " --hold-output out",
        NetworkFilters.refusal("web", "net0", "no such netdev"));
  }
}
