package org.understudy.libvirt;

import com.sun.jna.Pointer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import org.libvirt.Connect;
import org.libvirt.Domain;
import org.libvirt.Error.ErrorNumber;
import org.libvirt.LibvirtException;
import org.libvirt.event.LifecycleListener;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.libvirt.LifecycleEvent.Listener;

/**
 * One host's libvirt, by URI. A broken connection is made again by a thread of its own, once a
 * second; calls meanwhile fail with one sentence. Domain handles and listeners survive that.
 * Thread-safe.
 */
public final class LibvirtHost implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(LibvirtHost.class);
  private static final long RETRY_MS = 1000;
  private static final int KEEPALIVE_SECONDS = 5;
  private static final int KEEPALIVES_MISSED = 3;

  /** Connect with its pointer, for what libvirt-java lacks. */
  static final class Connection extends Connect {
    Connection(String uri) throws LibvirtException {
      super(uri);
    }

    Pointer pointer() {
      return vcp.getPointer();
    }
  }

  private final String uri;
  private final List<Listener> listeners = new CopyOnWriteArrayList<>();
  private final LifecycleListener lifecycle =
      (domain, event) -> {
        tell(domain, LifecycleEvent.changeOf(event));
        return 0;
      };
  // Kept for ever, also those of connections that broke: libvirt may be about to call them.
  private final List<QemuEvents.Heard> heard = new CopyOnWriteArrayList<>();
  private final Object lock = new Object();
  // under lock: the connection, or null while it is broken, and why
  private Connection connection;
  private String brokenBecause;
  private boolean closed;

  private LibvirtHost(String uri) {
    this.uri = uri;
  }

  /**
   * Connects. A process that has opened the embedded driver once can open no other URI of QEMU's:
   * libvirt takes them all for its own.
   *
   * @param uri such as {@code qemu:///system} or {@code qemu:///embed?root=/short/path}
   * @throws LibvirtFault nobody answers there
   */
  public static LibvirtHost open(String uri) throws LibvirtFault {
    LibvirtEvents.start();
    LibvirtHost host = new LibvirtHost(uri);
    host.connection = host.connect();
    return host;
  }

  /**
   * As {@link #open}, but waits while nobody serves libvirt's socket: it may be on its way up, or
   * be started anew.
   */
  public static LibvirtHost openWhenThere(String uri) throws LibvirtFault, InterruptedException {
    String told = "";
    while (true) {
      try {
        return open(uri);
      } catch (LibvirtFault e) {
        if (!(e.getCause() instanceof LibvirtException cause)
            || cause.getError().getCode() != ErrorNumber.VIR_ERR_SYSTEM_ERROR) {
          throw e;
        }
        if (!told.equals(e.getMessage())) {
          told = e.getMessage();
          log.warn("{}; waiting for it", told);
        }
        Thread.sleep(RETRY_MS);
      }
    }
  }

  /**
   * Returns when libvirt answers.
   *
   * @throws LibvirtFault it does not within {@code limitMs}
   */
  public void awaitAnswer(long limitMs) throws LibvirtFault, InterruptedException {
    long endNs = System.nanoTime() + limitMs * 1_000_000;
    while (true) {
      try {
        hostName();
        return;
      } catch (LibvirtFault away) {
        if (System.nanoTime() - endNs > 0) {
          throw away;
        }
        Thread.sleep(100);
      }
    }
  }

  /** The URI that it was opened with. */
  public String uri() {
    return uri;
  }

  /** Adds a listener for the events of all domains. */
  public void listen(Listener listener) {
    listeners.add(listener);
  }

  /** Removes a listener. */
  public void unlisten(Listener listener) {
    listeners.remove(listener);
  }

  /**
   * A domain, running or not.
   *
   * @param nameOrUuid its name, or else its UUID
   * @throws LibvirtFault there is none
   */
  public LibvirtDomain domain(String nameOrUuid) throws LibvirtFault {
    Connection now = connection();
    try {
      return new LibvirtDomain(this, now.domainLookupByName(nameOrUuid));
    } catch (LibvirtException noName) {
      try {
        UUID uuid = UUID.fromString(nameOrUuid);
        return new LibvirtDomain(this, now.domainLookupByUUIDString(uuid.toString()));
      } catch (IllegalArgumentException | LibvirtException noUuid) {
        throw new LibvirtFault("no domain " + nameOrUuid + " on " + uri, noName);
      }
    }
  }

  /** The domain with this UUID, or null. */
  public LibvirtDomain domainOrNull(UUID uuid) throws LibvirtFault {
    try {
      return new LibvirtDomain(this, connection().domainLookupByUUIDString(uuid.toString()));
    } catch (LibvirtException e) {
      return null;
    }
  }

  /** The domain with this name, or null. */
  public LibvirtDomain domainOrNull(String name) throws LibvirtFault {
    try {
      return new LibvirtDomain(this, connection().domainLookupByName(name));
    } catch (LibvirtException e) {
      return null;
    }
  }

  /** The domains that have a QEMU now. */
  public List<LibvirtDomain> activeDomains() throws LibvirtFault {
    Connection now = connection();
    List<LibvirtDomain> found = new ArrayList<>();
    try {
      for (int id : now.listDomains()) {
        try {
          found.add(new LibvirtDomain(this, now.domainLookupByID(id)));
        } catch (LibvirtException ended) {
          // between the two calls
        }
      }
    } catch (LibvirtException e) {
      throw new LibvirtFault("listing the domains of " + uri, e);
    }
    return found;
  }

  /** Defines a domain, or changes its definition; does not start it. */
  public LibvirtDomain define(String xml) throws LibvirtFault {
    try {
      return new LibvirtDomain(this, connection().domainDefineXML(xml));
    } catch (LibvirtException e) {
      throw new LibvirtFault("defining domain " + DomainXml.parse(xml).name() + " on " + uri, e);
    }
  }

  /** virDomainCreateXML with {@code flags}. */
  LibvirtDomain create(String xml, int flags) throws LibvirtFault {
    try {
      return new LibvirtDomain(this, connection().domainCreateXML(xml, flags));
    } catch (LibvirtException e) {
      throw new LibvirtFault("starting domain " + DomainXml.parse(xml).name() + " on " + uri, e);
    }
  }

  /** The name that libvirt has for the host. */
  public String hostName() throws LibvirtFault {
    return ask("the name of " + uri, Connect::getHostName);
  }

  /** libvirt's version on that host, such as {@code 9.0.0}. */
  public String version() throws LibvirtFault {
    long number = ask("the version of " + uri, Connect::getLibVersion);
    return number / 1_000_000 + "." + number / 1000 % 1000 + "." + number % 1000;
  }

  /** {@code <capabilities>} as libvirt has it. */
  public String capabilitiesXml() throws LibvirtFault {
    return ask("the capabilities of " + uri, Connect::getCapabilities);
  }

  /**
   * {@code <domainCapabilities>} of an emulator for a machine type; asks the emulator itself when
   * libvirt has no answer kept.
   *
   * @throws LibvirtFault that emulator is not there or has no such machine
   */
  public String domainCapabilitiesXml(String emulator, String arch, String machine, String type)
      throws LibvirtFault {
    Pointer text =
        LibvirtLibrary.BASE.virConnectGetDomainCapabilities(
            connection().pointer(), emulator, arch, machine, type, 0);
    if (text == null) {
      throw new LibvirtFault(
          "what " + emulator + " can do for machine " + machine + ": " + lastError());
    }
    return LibvirtLibrary.taken(text);
  }

  /** virConnectCompareHypervisorCPU: whether that emulator can give a guest this {@code <cpu>}. */
  boolean hasCpu(String emulator, String arch, String machine, String type, String cpuXml)
      throws LibvirtFault {
    int result =
        LibvirtLibrary.BASE.virConnectCompareHypervisorCPU(
            connection().pointer(), emulator, arch, machine, type, cpuXml, 0);
    if (result < 0) {
      throw new LibvirtFault("comparing a CPU with that of " + uri + ": " + lastError());
    }
    return result > 0;
  }

  /** libvirt's words for the last failed call of this thread. */
  static String lastError() {
    Pointer message = LibvirtLibrary.BASE.virGetLastErrorMessage();
    return message == null ? "no reason given" : message.getString(0, "UTF-8");
  }

  /** The connection as it is now. */
  Connection connection() throws LibvirtFault {
    synchronized (lock) {
      if (connection == null) {
        throw new LibvirtFault(
            closed
                ? "the connection to libvirt at " + uri + " was closed"
                : "libvirt at " + uri + " does not answer: " + brokenBecause);
      }
      return connection;
    }
  }

  @Override
  public void close() {
    Connection last;
    synchronized (lock) {
      last = connection;
      connection = null;
      closed = true;
      lock.notifyAll();
    }
    if (last != null) {
      try {
        // An event that arrives after the end would find libvirt-java without its pointer.
        last.removeLifecycleListener(lifecycle);
        last.close();
      } catch (LibvirtException e) {
        log.debug("closing {}", uri, e);
      }
    }
  }

  private interface Question<T> {
    T of(Connection connection) throws LibvirtException;
  }

  private <T> T ask(String what, Question<T> question) throws LibvirtFault {
    try {
      return question.of(connection());
    } catch (LibvirtException e) {
      throw new LibvirtFault("asking for " + what, e);
    }
  }

  private Connection connect() throws LibvirtFault {
    try {
      Connection made = new Connection(uri);
      try {
        made.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVES_MISSED);
      } catch (LibvirtException notRemote) {
        log.debug("{} has no keep-alive: {}", uri, notRemote.getMessage());
      }
      made.registerCloseListener((which, reason) -> broken(made, reason.toString()));
      made.addLifecycleListener(lifecycle);
      made.addRebootListener(domain -> tell(domain, LifecycleEvent.Change.RESET));
      heard.add(QemuEvents.listen(made.pointer(), this::tell));
      return made;
    } catch (LibvirtException e) {
      throw new LibvirtFault("connecting to libvirt at " + uri, e);
    }
  }

  private void tell(Domain domain, LifecycleEvent.Change change) {
    LifecycleEvent event;
    try {
      event = new LifecycleEvent(UUID.fromString(domain.getUUIDString()), domain.getName(), change);
    } catch (LibvirtException e) {
      log.warn("an event of an unknown domain on {}: {}", uri, e.getMessage());
      return;
    }
    tell(event);
  }

  private void tell(LifecycleEvent event) {
    for (Listener listener : listeners) {
      try {
        listener.changed(event);
      } catch (RuntimeException e) {
        log.error("a listener failed at {}", event, e);
      }
    }
  }

  // Connect.equals compares native addresses, which a later connection may have again.
  @SuppressWarnings("ReferenceEquality")
  private void broken(Connection which, String reason) {
    synchronized (lock) {
      if (connection != which) {
        return;
      }
      connection = null;
      brokenBecause = "the connection ended (" + reason + ")";
    }
    announce(false, "the connection to libvirt at " + uri + " ended (" + reason + ")");
    Thread again = new Thread(this::reconnect, "libvirt-reconnect");
    again.setDaemon(true);
    again.start();
  }

  private void reconnect() {
    while (true) {
      synchronized (lock) {
        try {
          lock.wait(RETRY_MS);
        } catch (InterruptedException e) {
          return;
        }
        if (closed) {
          return;
        }
      }
      Connection made;
      try {
        made = connect();
      } catch (IOException e) {
        synchronized (lock) {
          brokenBecause = e.getMessage();
        }
        continue;
      }
      synchronized (lock) {
        connection = closed ? null : made;
      }
      announce(true, "connected to libvirt at " + uri + " again");
      return;
    }
  }

  private void announce(boolean again, String sentence) {
    log.warn("{}", sentence);
    for (Listener listener : listeners) {
      try {
        listener.connected(again, sentence);
      } catch (RuntimeException e) {
        log.error("a listener failed at: {}", sentence, e);
      }
    }
  }
}
