package org.understudy.capture;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The user that a process acts as.
 *
 * @param uid effective user id
 * @param gid effective group id
 */
record ProcessOwner(int uid, int gid) {
  static ProcessOwner of(int pid) throws IOException {
    int uid = -1;
    int gid = -1;
    for (String line : Files.readAllLines(Path.of("/proc/" + pid + "/status"))) {
      String[] fields = line.split("\\s+", -1);
      switch (fields[0]) {
        case "Uid:" -> uid = Integer.parseInt(fields[2]);
        case "Gid:" -> gid = Integer.parseInt(fields[2]);
        default -> {}
      }
    }
    if (uid < 0 || gid < 0) {
      throw new IOException("/proc/" + pid + "/status names no user and group");
    }
    return new ProcessOwner(uid, gid);
  }
}
