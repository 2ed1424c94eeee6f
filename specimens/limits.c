/* The limits of resources, soft and hard. */
#include "specimen.h"
#include <sys/resource.h>

int main(int argc, char **argv) {
    begin(argc, argv);
    static struct rlimit before[RLIM_NLIMITS], after;
    struct rlimit few;
    MUST(getrlimit(RLIMIT_NOFILE, &few) == 0);
    few.rlim_cur = 123;
    MUST(setrlimit(RLIMIT_NOFILE, &few) == 0);
    struct rlimit none = {0, 0};
    MUST(setrlimit(RLIMIT_CORE, &none) == 0);
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        MUST(getrlimit(i, &before[i]) == 0);
    }
    ready();
    while (!told()) {
    }
    if (spoil) {
        few.rlim_cur = 124;
        MUST(setrlimit(RLIMIT_NOFILE, &few) == 0);
    }
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        MUST(getrlimit(i, &after) == 0);
        MUST(after.rlim_cur == before[i].rlim_cur && after.rlim_max == before[i].rlim_max);
    }
    /* 0, 1, 2 are open; 123 of them there may be. */
    int opened = 3;
    while (dup(0) >= 0) {
        opened++;
    }
    MUST(errno == EMFILE && opened <= 123 && opened >= 100);
    return well();
}
