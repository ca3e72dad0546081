package org.understudy.libvirt;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.understudy.capture.ConfigurationCheck;
import org.w3c.dom.Element;
import org.w3c.dom.Node;

/**
 * The devices and the XML of a running domain, compared with those that its standby was made of.
 * Asks QEMU for the devices, since an unplugged one is gone there before libvirt hears of it, and
 * libvirt for the XML, since a medium in a drive is no device. One thread.
 */
public final class LiveConfiguration implements ConfigurationCheck {
  /** What in the XML may change without the standby's QEMU becoming another one. */
  private static final String OF_NO_CONSEQUENCE =
      "/domain/currentMemory | /domain/metadata | /domain/title | /domain/description"
          + " | /domain/on_poweroff | /domain/on_reboot | /domain/on_crash";

  private static final Pattern BALLOON =
      Pattern.compile("<currentMemory[^>]*>[^<]*</currentMemory>");

  private final LibvirtDomain domain;
  private PrimaryDomain known;
  private String lastXml;
  private volatile boolean stale;

  /** Compares with {@code known} from now on. */
  public LiveConfiguration(LibvirtDomain domain, PrimaryDomain known) {
    this.domain = domain;
    expect(known);
  }

  /** The standby is made of {@code now} from here on. */
  public void expect(PrimaryDomain now) {
    known = now;
    lastXml = withoutBalloon(now.migratableXml());
    stale = false;
  }

  /** The persistent configuration has changed; any thread. */
  public void definedAnew() {
    stale = true;
  }

  /** Whether the description has changed in what no QEMU depends on, since {@link #expect}. */
  public boolean isStale() {
    return stale;
  }

  @Override
  public void check() throws IOException {
    String devices = difference(known.devices(), domain.devices());
    if (!devices.isEmpty()) {
      throw new ConfigurationChanged("the guest's devices changed: " + devices);
    }
    String xml = domain.migratableXml();
    if (withoutBalloon(xml).equals(lastXml)) {
      return;
    }
    if (!sameMachine(known.migratableXml(), xml)) {
      throw new ConfigurationChanged(
          "the guest's configuration changed: " + firstDifference(known.migratableXml(), xml));
    }
    lastXml = withoutBalloon(xml);
    stale = true;
  }

  /** The balloon's size, which may change all the time, is a part of the device state. */
  private static String withoutBalloon(String xml) {
    return BALLOON.matcher(xml).replaceFirst("");
  }

  /** Whether two live XMLs make the same QEMU. */
  static boolean sameMachine(String one, String other) throws LibvirtFault {
    return one.equals(other) || machine(one).equals(machine(other));
  }

  private static String machine(String xml) throws LibvirtFault {
    DomainXml parsed = DomainXml.parse(xml);
    for (Element element : parsed.all(OF_NO_CONSEQUENCE)) {
      element.getParentNode().removeChild(element);
    }
    for (Element channel : parsed.all("/domain/devices/channel/target[@state]")) {
      channel.removeAttribute("state");
    }
    return parsed.text().replaceAll(">\\s+<", "><");
  }

  /** The first element with other content in {@code after}: its name and what it says there. */
  static String firstDifference(String before, String after) throws LibvirtFault {
    List<String> had = parts(before);
    List<String> has = parts(after);
    for (String part : has) {
      if (!had.remove(part)) {
        return "now " + part;
      }
    }
    return had.isEmpty() ? "the order of its elements" : "no more " + had.get(0);
  }

  private static List<String> parts(String xml) throws LibvirtFault {
    List<String> parts = new ArrayList<>();
    for (Element element :
        DomainXml.parse(xml).all("/domain/*[not(self::devices)] | /domain/devices/*")) {
      Node parent = element.getParentNode();
      parts.add(DomainXml.text(element).replaceAll("\\s+", " "));
      parent.removeChild(element);
    }
    return parts;
  }

  /** What came and went, as words; empty if nothing did. */
  static String difference(List<String> before, List<String> after) {
    List<String> came = new ArrayList<>(after);
    came.removeAll(before);
    List<String> went = new ArrayList<>(before);
    went.removeAll(after);
    List<String> words = new ArrayList<>();
    if (!came.isEmpty()) {
      words.add(String.join(", ", came) + " plugged in");
    }
    if (!went.isEmpty()) {
      words.add(String.join(", ", went) + " unplugged");
    }
    return String.join("; ", words);
  }
}
