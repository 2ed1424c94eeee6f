/* Shared anonymous memory stays shared with children that come later. */
#include "specimen.h"
#include <sys/mman.h>
#include <sys/wait.h>

#define LENGTH (16 * 4096)

int main(int argc, char **argv) {
    begin(argc, argv);
    int flags = MAP_SHARED | MAP_ANONYMOUS;
    char *memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, flags, -1, 0);
    MUST(memory != MAP_FAILED);
    fill(memory, LENGTH, 1);
    ready();
    do {
        MUST(holds(memory, LENGTH, 1));
    } while (!told());
    if (spoil) {
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        MUST(mmap(memory, LENGTH, PROT_READ | PROT_WRITE, flags, -1, 0) == memory);
        fill(memory, LENGTH, 1);
    }
    MUST(holds(memory, LENGTH, 1));
    pid_t child = fork();
    if (child == 0) {
        fill(memory, LENGTH, 2);
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child && status == 0);
    MUST(holds(memory, LENGTH, 2));
    return well();
}
