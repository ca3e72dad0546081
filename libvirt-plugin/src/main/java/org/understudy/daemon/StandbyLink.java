package org.understudy.daemon;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.time.Duration;
import java.util.UUID;
import org.understudy.fault.FaultPoint;
import org.understudy.guest.EpochSink;
import org.understudy.guest.PageSet;
import org.understudy.link.Goodbye;
import org.understudy.link.Hello;
import org.understudy.link.LinkSender;
import org.understudy.ssh.ControlClient;
import org.understudy.ssh.ControlException;
import org.understudy.ssh.HostPort;
import org.understudy.ssh.PeerConnection;
import org.understudy.ssh.TrustedPeer;

/**
 * The primary's way to its standby: one SSH connection with a control stream and a stream of
 * epochs. Used by the capture thread.
 */
final class StandbyLink implements AutoCloseable {
  private static final Duration CONNECT = Duration.ofSeconds(10);
  private static final Duration PREPARE = Duration.ofSeconds(90);

  /** The link is gone or the standby cannot store epochs; the capture can go on with a new link. */
  static final class Broken extends IOException {
    private static final long serialVersionUID = 1;

    Broken(IOException cause) {
      super(cause.getMessage(), cause);
    }
  }

  private final CaptureSession capture;
  private final PeerConnection connection;
  private final ControlClient control;
  private final LinkSender sender;
  private final SentPages sent;

  private StandbyLink(
      CaptureSession capture, PeerConnection connection, ControlClient control, LinkSender sender) {
    this.capture = capture;
    this.connection = connection;
    this.control = control;
    this.sender = sender;
    sent = new SentPages(capture.layout().pages(), sender.sink());
  }

  /**
   * Connects and has the standby prepared.
   *
   * @throws Broken if the standby host cannot be reached or refuses
   */
  static StandbyLink open(ThisHost host, Ownership mine, CaptureSession capture)
      throws IOException {
    PeerConnection connection = null;
    try {
      connection = host.peers().connect(host.trusted().named(mine.peer()), CONNECT);
      FaultPoint.LINK_CONNECTED.reached();
      ControlClient control = ControlClient.open(connection);
      control.call("prepare", capture.order(mine).toJson(), PREPARE);
      FaultPoint.STANDBY_PREPARED.reached();
      Hello hello =
          new Hello(
              UUID.randomUUID(),
              mine.domain(),
              mine.domainName(),
              mine.generation(),
              capture.acknowledgedEpoch(),
              capture.machine(),
              capture.layout());
      LinkSender sender =
          new LinkSender(
              connection.openChannel("epochs"),
              hello,
              host.config().protect().timing().heartbeatMs(),
              System::nanoTime);
      sender.onCommitted(capture::committed);
      capture.committed(sender.standbyEpoch());
      StandbyLink link = new StandbyLink(capture, connection, control, sender);
      capture.linked(link);
      return link;
    } catch (IOException e) {
      if (connection != null) {
        end(connection);
      }
      String where = e instanceof ControlException ? "refused by standby host " : ""; // "b: why"
      throw new Broken(new IOException(where + e.getMessage(), e));
    }
  }

  /** Where a standby host hears guards (UDP). */
  static HostPort guardAddress(ThisHost host, TrustedPeer peer) throws IOException {
    try (PeerConnection connection = host.peers().connect(peer, CONNECT);
        ControlClient control = ControlClient.open(connection)) {
      ObjectNode nothing = JsonNodeFactory.instance.objectNode();
      ObjectNode answer = control.call("guard-port", nothing, CONNECT);
      String address = answer.path("host").asText("");
      return new HostPort(
          address.isEmpty() ? peer.address().host() : address, answer.required("port").asInt());
    }
  }

  /** The last epoch that the standby has, 0 for none. */
  long standbyEpoch() {
    return sender.standbyEpoch();
  }

  /** Pages that have to be sent again, because the standby does not have what it should have. */
  PageSet missingPages() {
    return capture.missingSince(sender.standbyEpoch());
  }

  /** Where epochs go. */
  EpochSink sink() {
    return sent;
  }

  ControlClient control() {
    return control;
  }

  LinkSender sender() {
    return sender;
  }

  /** Throws if the link no longer works; {@code found} is what showed it, and says why. */
  void check(String found) throws Broken {
    if (!sender.isOpen()) {
      throw new Broken(new IOException(found));
    }
  }

  void goodbye(Goodbye why, String sentence) throws IOException {
    sender.goodbye(why, sentence);
  }

  /** Tells the standby that link and guard will be silent for a while although the guest runs. */
  void beginsAgain(String sentence) {
    try {
      sender.goodbye(Goodbye.BEGINS_AGAIN, sentence);
    } catch (IOException e) {
      // The link has gone, too: it learns nothing, and may have to judge by the silence.
    }
  }

  /** Waits until the standby has committed epoch {@code epoch}. */
  void awaitAcknowledged(long epoch, long waitMs) throws IOException, InterruptedException {
    boolean there;
    try {
      there = sender.awaitAcknowledged(epoch, waitMs);
    } catch (IOException e) {
      throw new Broken(e);
    }
    if (!there) {
      throw new Broken(
          new IOException("epoch " + epoch + " is not committed after " + waitMs + " ms"));
    }
    sent.acknowledged(sender.acknowledged());
    capture.acknowledged(sender.acknowledged());
  }

  /** Gives what is not acknowledged back to the capture, when the link is given up. */
  void rememberUnacknowledged() {
    sent.acknowledged(sender.acknowledged());
    capture.acknowledged(sender.acknowledged());
    sent.giveBack(capture.unacknowledged());
  }

  @Override
  public void close() {
    capture.linked(null);
    sender.close();
    end(connection);
  }

  private static void end(PeerConnection connection) {
    try {
      connection.close();
    } catch (IOException e) {
      // It is of no use any more, however it ended.
    }
  }
}
