/* The leader of a process group stays its leader, and signals to the group reach it. */
#include "specimen.h"

static volatile sig_atomic_t seen;

static void on_signal(int number) { seen = number; }

int main(int argc, char **argv) {
    begin(argc, argv);
    MUST(setpgid(0, 0) == 0 && getpgrp() == getpid());
    signal(SIGUSR1, on_signal);
    bool leads_session = getsid(0) == getpid();
    ready();
    while (!told()) {
        MUST(getpgrp() == getpid());
    }
    if (spoil) {
        MUST(setpgid(0, getpgid(getppid())) == 0);
    }
    MUST(getpgrp() == getpid() && getpgid(0) == getpgrp());
    MUST(!leads_session || getsid(0) == getpid());
    MUST(kill(0, SIGUSR1) == 0 && seen == SIGUSR1);
    return well();
}
