package org.understudy.testbed;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;

/**
 * A libvirt domain for a test guest, as XML that both test hosts accept: type qemu, versioned q35,
 * an explicit CPU, direct kernel boot, virtio-net on br0, a read-only virtio-blk disk with
 * cache=none, a balloon, serial port to {@code /var/lib/libvirt/serial/NAME.log} of the host.
 *
 * @param kernelWords added to the kernel's command line
 * @param video with a VGA device and VNC on a UNIX socket
 * @param uefi boots through OVMF
 */
public record Domain(
    String name,
    GuestImages.Image image,
    Path emulator,
    String machine,
    int memoryMib,
    int vcpus,
    int diskMib,
    String kernelWords,
    boolean video,
    boolean uefi) {

  /** The address that the guest has on br0; both hosts reach it. */
  public static final String GUEST_ADDRESS = "10.77.0.100";

  /** A domain of 256 MiB and one vCPU, with its network in use and its disk idle. */
  public static Domain of(String name, GuestImages.Image image) {
    return new Domain(
        name,
        image,
        GuestImages.defaultQemu().binary(),
        "pc-q35-7.2",
        256,
        1,
        64,
        "net=1 net.addr=" + GUEST_ADDRESS + "/24 net.peer=10.77.0.2",
        false,
        false);
  }

  public Domain memoryMib(int value) {
    return new Domain(
        name, image, emulator, machine, value, vcpus, diskMib, kernelWords, video, uefi);
  }

  public Domain vcpus(int value) {
    return new Domain(
        name, image, emulator, machine, memoryMib, value, diskMib, kernelWords, video, uefi);
  }

  /** Adds words to the kernel's command line, such as {@code io=direct proof.size=128}. */
  public Domain kernel(String words) {
    return new Domain(
        name,
        image,
        emulator,
        machine,
        memoryMib,
        vcpus,
        diskMib,
        kernelWords + " " + words,
        video,
        uefi);
  }

  /**
   * Another machine type and QEMU, such as {@code pc-q35-10.0} with that of {@link
   * GuestImages#qemu10()}.
   */
  public Domain machine(String type, Path qemu) {
    return new Domain(name, image, qemu, type, memoryMib, vcpus, diskMib, kernelWords, video, uefi);
  }

  public Domain withVideo() {
    return new Domain(
        name, image, emulator, machine, memoryMib, vcpus, diskMib, kernelWords, true, uefi);
  }

  public Domain withUefi() {
    return new Domain(
        name, image, emulator, machine, memoryMib, vcpus, diskMib, kernelWords, video, true);
  }

  /** The same for every domain of this name, so that a second host knows the domain again. */
  public UUID uuid() {
    return UUID.nameUUIDFromBytes(
        ("understudy test guest " + name).getBytes(StandardCharsets.UTF_8));
  }

  /** The domain's XML; builds the guest and the disk if they are not there yet. */
  public String xml() {
    String firmware =
        uefi
            ? "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
                + "<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'/>"
            : "";
    String graphics =
        video
            ? "<graphics type='vnc'><listen type='socket'/></graphics><video><model type='vga'/></video>"
            : "<video><model type='none'/></video>";
    Map<String, String> values = new LinkedHashMap<>();
    values.put("NAME", name);
    values.put("UUID", uuid().toString());
    values.put("MEMORY_MIB", Integer.toString(memoryMib));
    values.put("VCPUS", Integer.toString(vcpus));
    values.put("MACHINE", machine);
    values.put("FIRMWARE", firmware);
    values.put("KERNEL", image.kernel().toString());
    values.put("INITRD", image.initrd().toString());
    values.put("KERNEL_WORDS", "console=ttyS0 quiet " + kernelWords);
    values.put("EMULATOR", emulator.toString());
    values.put("DISK", GuestImages.disk(diskMib).toString());
    values.put(
        "MAC",
        "52:54:00:77:%02x:%02x".formatted(name.hashCode() >> 8 & 0xff, name.hashCode() & 0xff));
    values.put("VIDEO", graphics);
    String xml = template();
    for (Map.Entry<String, String> value : values.entrySet()) {
      xml = xml.replace("@" + value.getKey() + "@", value.getValue());
    }
    return xml;
  }

  private static String template() {
    try (InputStream in = Domain.class.getResourceAsStream("domain.xml")) {
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException failure) {
      throw new UncheckedIOException(failure);
    }
  }
}
