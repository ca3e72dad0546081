/* reaper COMMAND...: the first process of a test host. It runs the command and stays as the parent of all processes whose
 * own parent ends (libvirt's QEMUs are such), and buries them at once. libvirt waits for that, and not every machine's
 * first process is quick about it. */
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments) {
  if (count < 2 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    fprintf(stderr, "usage: reaper COMMAND...\n");
    return 2;
  }
  if (fork() == 0) {
    execvp(arguments[1], arguments + 1);
    perror(arguments[1]);
    _exit(127);
  }
  for (;;)
    if (wait(NULL) < 0 && errno == ECHILD) sleep(1);
}
