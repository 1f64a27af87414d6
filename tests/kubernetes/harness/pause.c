/* Does nothing, and takes the exit codes of orphans: the init of nodes, and of pods. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void leave(int number) { (void)number; _exit(0); }

static void reap(int number) {
  (void)number;
  while (waitpid(-1, 0, WNOHANG) > 0)
    ;
}

int main(void) {
  struct sigaction down = {.sa_handler = leave};
  struct sigaction child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
  sigaction(SIGINT, &down, 0);
  sigaction(SIGTERM, &down, 0);
  sigaction(SIGCHLD, &child, 0);
  for (;;)
    pause();
}
