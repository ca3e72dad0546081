package org.understudy.e2e;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.understudy.capture.GuestMonitor;
import org.understudy.capture.MonitorRefusal;

/**
 * A QMP connection of our own, by plain system calls because add-fd passes a descriptor beside the
 * bytes (SCM_RIGHTS), which the JDK's sockets cannot. One command at a time.
 */
final class DescriptorMonitor implements GuestMonitor, AutoCloseable {
  private static final int AF_UNIX = 1;
  private static final int SOCK_STREAM_CLOEXEC = 1 | 0x80000;
  private static final int MSG_NOSIGNAL = 0x4000;
  private static final ObjectMapper JSON = new ObjectMapper();

  private final int socket;
  private final Memory buffer = new Memory(65536);
  private final ByteArrayOutputStream line = new ByteArrayOutputStream();
  private byte[] rest = {};

  static {
    Native.register("c");
  }

  private static native int socket(int domain, int type, int protocol);

  private static native int connect(int socket, Pointer address, int length);

  private static native long recv(int socket, Pointer buffer, long length, int flags);

  private static native long sendmsg(int socket, Pointer message, int flags);

  private static native int close(int fd);

  DescriptorMonitor(Path path) throws IOException {
    socket = socket(AF_UNIX, SOCK_STREAM_CLOEXEC, 0);
    Memory address = new Memory(110);
    address.clear();
    address.setShort(0, (short) AF_UNIX);
    address.setString(2, path.toString());
    if (connect(socket, address, 110) != 0) {
      close(socket);
      throw new IOException("connecting to " + path + ": errno " + Native.getLastError());
    }
    readLine();
    command("qmp_capabilities", JSON.createObjectNode(), -1);
  }

  /** Runs a QMP command; {@code fd} is passed along unless negative. */
  synchronized JsonNode command(String name, ObjectNode arguments, int fd) throws IOException {
    ObjectNode request = JSON.createObjectNode().put("execute", name);
    request.set("arguments", arguments);
    send((request + "\n").getBytes(StandardCharsets.UTF_8), fd);
    while (true) {
      JsonNode reply = JSON.readTree(readLine());
      if (reply.has("error")) {
        throw new MonitorRefusal(name, reply.get("error").get("desc").asText());
      }
      if (reply.has("return")) {
        return reply.get("return");
      }
    }
  }

  static ObjectNode arguments() {
    return JSON.createObjectNode();
  }

  @Override
  public String humanCommand(String line) throws IOException {
    return command("human-monitor-command", arguments().put("command-line", line), -1).asText();
  }

  @Override
  public PassedDescriptor addDescriptor(int fd) throws IOException {
    JsonNode reply = command("add-fd", arguments(), fd);
    return new PassedDescriptor(reply.get("fdset-id").asLong(), reply.get("fd").asInt());
  }

  @Override
  public void removeDescriptor(PassedDescriptor d) throws IOException {
    command("remove-fd", arguments().put("fdset-id", d.fdset()).put("fd", d.number()), -1);
  }

  @Override
  public void saveDevicesState(String path) throws IOException {
    command("xen-save-devices-state", arguments().put("filename", path).put("live", false), -1);
  }

  @Override
  public String status() throws IOException {
    return command("query-status", arguments(), -1).get("status").asText();
  }

  private void send(byte[] bytes, int fd) throws IOException {
    Memory content = new Memory(bytes.length);
    content.write(0, bytes, 0, bytes.length);
    Memory vector = new Memory(16);
    vector.setPointer(0, content);
    vector.setLong(8, bytes.length);
    Memory message = new Memory(56); // struct msghdr
    message.clear();
    message.setPointer(16, vector);
    message.setLong(24, 1);
    Memory control = new Memory(24); // struct cmsghdr and one int, padded
    if (fd >= 0) {
      control.clear();
      control.setLong(0, 20);
      control.setInt(8, 1); // SOL_SOCKET
      control.setInt(12, 1); // SCM_RIGHTS
      control.setInt(16, fd);
      message.setPointer(32, control);
      message.setLong(40, 24);
    }
    if (sendmsg(socket, message, MSG_NOSIGNAL) != bytes.length) {
      throw new IOException("QMP write: errno " + Native.getLastError());
    }
  }

  private String readLine() throws IOException {
    line.reset();
    while (true) {
      for (int i = 0; i < rest.length; i++) {
        if (rest[i] == '\n') {
          line.write(rest, 0, i);
          rest = java.util.Arrays.copyOfRange(rest, i + 1, rest.length);
          return line.toString(StandardCharsets.UTF_8);
        }
      }
      line.writeBytes(rest);
      rest = new byte[0];
      int n = (int) recv(socket, buffer, buffer.size(), 0);
      if (n <= 0) {
        throw new IOException("QEMU closed its QMP socket");
      }
      rest = buffer.getByteArray(0, n);
    }
  }

  @Override
  public void close() {
    close(socket);
  }
}
