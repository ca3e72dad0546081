package org.understudy.libvirt;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.linux.MemoryFile;
import org.understudy.qmp.QmpCommand;

/**
 * An image of a few bytes that no device uses, in an armed standby's QEMU. QEMU keeps the images of
 * a guest that it waits for inactive; {@code cont} (virsh resume) activates them all, and is told
 * nowhere else: no event, no other run state, no vCPU that runs. An active image is locked, which
 * the kernel shows. So a resume is noticed whatever disks the guest has.
 */
public final class ResumeTripwire {
  private static final Logger log = LoggerFactory.getLogger(ResumeTripwire.class);
  private static final String NODE = "understudy-tripwire";

  /** Far from the numbers of libvirt, which counts its own from 0 on. */
  private static final int FDSET = 0x75730000;

  private static final int CLUSTER = 512;

  private ResumeTripwire() {}

  /** Gives QEMU the image; to be done before the standby is armed. */
  public static void lay(LibvirtDomain domain) throws IOException {
    try (MemoryFile file = new MemoryFile(NODE, image())) {
      domain.qmpWithFiles(
          QmpCommand.of("add-fd", QmpCommand.arguments().put("fdset-id", FDSET)), file.fd());
    }
    var node = QmpCommand.arguments().put("driver", "qcow2").put("node-name", NODE);
    node.putObject("file")
        .put("driver", "file")
        .put("filename", "/dev/fdset/" + FDSET)
        .put("locking", "on");
    domain.qmp(QmpCommand.of("blockdev-add", node));
  }

  /** Takes it out of the QEMU of a guest that runs; one that stays does no harm and is logged. */
  public static void remove(LibvirtDomain domain) {
    try {
      domain.qmp(QmpCommand.of("blockdev-del", QmpCommand.arguments().put("node-name", NODE)));
      domain.qmp(QmpCommand.of("remove-fd", QmpCommand.arguments().put("fdset-id", FDSET)));
    } catch (IOException e) {
      log.info("{} stays in the QEMU of {}: {}", NODE, domain.name(), e.getMessage());
    }
  }

  /**
   * An empty image of one sector (QEMU, docs/interop/qcow2.txt, version 2): header, refcount table,
   * refcount block and L1 table, a cluster each. qcow2, because it takes a lock when it is active
   * even if nobody uses it.
   */
  private static byte[] image() {
    ByteBuffer image = ByteBuffer.allocate(4 * CLUSTER);
    image.putInt(0x514649fb).putInt(2); // "QFI\xfb", version
    image.putLong(0).putInt(0); // no backing file
    image.putInt(9).putLong(CLUSTER).putInt(0); // cluster bits, size, no encryption
    image.putInt(1).putLong(3 * CLUSTER); // L1 entries and table
    image.putLong(CLUSTER).putInt(1); // refcount table and its clusters
    image.putInt(0).putLong(0); // no snapshots
    image.putLong(CLUSTER, 2 * CLUSTER);
    for (int cluster = 0; cluster < 4; cluster++) {
      image.putShort(2 * CLUSTER + 2 * cluster, (short) 1);
    }
    return image.array();
  }
}
