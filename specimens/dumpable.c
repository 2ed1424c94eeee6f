/* What it has said about itself to the kernel: dumpable, no new rights, signal at its parent's death. */
#include "specimen.h"
#include <sys/prctl.h>

int main(int argc, char **argv) {
    begin(argc, argv);
    MUST(prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && prctl(PR_SET_TIMERSLACK, 70000) == 0);
    ready();
    while (!told()) {
    }
    if (spoil) {
        MUST(prctl(PR_SET_DUMPABLE, 1) == 0);
    }
    int reaper = 0;
    MUST(prctl(PR_GET_DUMPABLE) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    MUST(prctl(PR_GET_CHILD_SUBREAPER, &reaper) == 0 && reaper == 1);
    MUST(prctl(PR_GET_TIMERSLACK) == 70000);
    return well();
}
