/* Locked memory stays locked. */
#include "specimen.h"
#include <sys/mman.h>

#define LENGTH (8 * 4096)

static long locked(void) {
    char line[256];
    long found = -1;
    FILE *status = fopen("/proc/self/status", "re");
    while (fgets(line, sizeof line, status) != NULL) {
        sscanf(line, "VmLck: %ld", &found);
    }
    MUST(fclose(status) == 0);
    return found;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    char *memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fill(memory, LENGTH, 1);
    MUST(mlock(memory, LENGTH) == 0 && locked() == LENGTH / 1024);
    ready();
    while (!told()) {
        MUST(holds(memory, LENGTH, 1));
    }
    if (spoil) {
        munlock(memory, LENGTH);
    }
    MUST(holds(memory, LENGTH, 1) && locked() == LENGTH / 1024);
    MUST(munlock(memory, LENGTH) == 0 && locked() == 0);
    return well();
}
