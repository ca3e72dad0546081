package org.understudy.daemon;

import java.io.IOException;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.understudy.linux.NotifySocket;

/**
 * Tells systemd that the daemon still runs, twice in each {@code WatchdogSec}: one that was stopped
 * or hangs as a whole is then killed and started anew, and guests are protected again by itself.
 */
final class Watchdog {
  private static final Logger log = LoggerFactory.getLogger(Watchdog.class);

  private Watchdog() {}

  /** Starts the thread {@code watchdog} if the environment asks for it. */
  static void startIfAsked(Map<String, String> environment) {
    String path = environment.get("NOTIFY_SOCKET");
    String period = environment.get("WATCHDOG_USEC");
    if (path == null || period == null) {
      return;
    }
    try {
      long halfMs = Long.parseLong(period) / 2_000;
      NotifySocket socket = new NotifySocket(path);
      Thread thread = new Thread(() -> tell(socket, halfMs), "watchdog");
      thread.setDaemon(true);
      thread.start();
    } catch (IOException | NumberFormatException e) {
      log.warn("WATCHDOG_USEC={} NOTIFY_SOCKET={}: {}", period, path, e.getMessage());
    }
  }

  private static void tell(NotifySocket socket, long everyMs) {
    try (socket) {
      while (true) {
        try {
          socket.say("WATCHDOG=1");
        } catch (IOException busy) {
          log.warn("{}", busy.getMessage());
        }
        Thread.sleep(everyMs);
      }
    } catch (InterruptedException e) {
      // The daemon ends.
    }
  }
}
