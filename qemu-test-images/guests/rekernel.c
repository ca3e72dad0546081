/* Starts a kernel anew without the firmware (kexec), as crash dumps and fast reboots do.
 *
 *   rekernel mkdisk FILE VMLINUZ INITRD   makes a raw disk of them, for the host
 *   rekernel DEVICE                       in the guest: loads them with this kernel's own command line and jumps
 */
#include "guest.h"

#include <errno.h>
#include <linux/reboot.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { SECTOR = 512 };
#define MAGIC 0x4c4e52454b455245u

struct head {
  u64 magic, kernel, initrd;
  char fill[SECTOR - 3 * 8];
};

__attribute__((noreturn)) static void fail(const char *what) {
  say("rekernel: %s: %s", what, strerror(errno));
  exit(1);
}

static void copy(int from, int to, u64 bytes) {
  static char buffer[1 << 16];
  while (bytes > 0) {
    ssize_t n = read(from, buffer, bytes < sizeof buffer ? bytes : sizeof buffer);
    if (n <= 0) fail("reading");
    for (char *at = buffer; at < buffer + n;) {
      ssize_t written = write(to, at, (size_t)(buffer + n - at));
      if (written <= 0) fail("writing");
      at += written;
    }
    bytes -= (u64)n;
  }
}

static int make_disk(const char *file, const char *kernel, const char *initrd) {
  int to = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644), from[2] = {open(kernel, O_RDONLY), open(initrd, O_RDONLY)};
  struct stat of[2];
  if (to < 0 || from[0] < 0 || from[1] < 0 || fstat(from[0], of) != 0 || fstat(from[1], of + 1) != 0) fail("opening");
  struct head head = {.magic = MAGIC, .kernel = (u64)of[0].st_size, .initrd = (u64)of[1].st_size};
  if (write(to, &head, sizeof head) != sizeof head) fail("writing");
  copy(from[0], to, head.kernel);
  copy(from[1], to, head.initrd);
  u64 length = sizeof head + head.kernel + head.initrd;
  return ftruncate(to, (off_t)((length + SECTOR - 1) / SECTOR * SECTOR));
}

static int part(int device, const char *name, u64 bytes) {
  int fd = (int)syscall(SYS_memfd_create, name, 0);
  if (fd < 0) fail("memfd_create");
  copy(device, fd, bytes);
  return fd;
}

int main(int count, char **words) {
  if (count == 5 && strcmp(words[1], "mkdisk") == 0) return make_disk(words[2], words[3], words[4]);
  if (count != 2) return 2;
  char line[4096] = "";
  int device = open(words[1], O_RDONLY), told = open("/proc/cmdline", O_RDONLY);
  struct head head;
  if (device < 0 || told < 0 || read(device, &head, sizeof head) != sizeof head) fail(words[1]);
  ssize_t length = read(told, line, sizeof line - 1);
  if (head.magic != MAGIC || length < 1) fail("no kernel on it");
  line[length - 1] = 0; /* instead of the end of line */
  int kernel = part(device, "kernel", head.kernel), initrd = part(device, "initrd", head.initrd);
  if (syscall(SYS_kexec_file_load, kernel, initrd, (unsigned long)length, line, 0) != 0) fail("kexec_file_load");
  say("rekernel: another kernel begins");
  syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, 0);
  fail("reboot");
}
