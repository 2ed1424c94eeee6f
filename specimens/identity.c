/* What others see of it: its executable, its arguments, its environment, its name. */
#include "specimen.h"
#include <sys/prctl.h>

static const char *const places[] = {"/proc/self/cmdline", "/proc/self/environ", "/proc/self/comm"};
static char before[4][65536], after[4][65536];

static void look(char into[4][65536]) {
    MUST(readlink("/proc/self/exe", into[3], 65535) > 0);
    for (int i = 0; i < 3; i++) {
        int file = open(places[i], O_RDONLY | O_CLOEXEC);
        MUST(read(file, into[i], 65536) > 0 && close(file) == 0);
    }
}

int main(int argc, char **argv) {
    begin(argc, argv);
    MUST(prctl(PR_SET_NAME, "a name of its") == 0);
    look(before);
    ready();
    while (!told()) {
    }
    if (spoil) {
        MUST(prctl(PR_SET_NAME, "other") == 0);
    }
    look(after);
    for (int i = 0; i < 4; i++) {
        MUST(memcmp(before[i], after[i], sizeof before[i]) == 0);
    }
    return well();
}
