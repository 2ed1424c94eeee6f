/* Memory that children are not to get, or get empty: it moves whole, and later children still do not get it. */
#include "specimen.h"
#include <sys/mman.h>
#include <sys/wait.h>

#define LENGTH (8 * 4096)

int main(int argc, char **argv) {
    begin(argc, argv);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *withheld = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, flags, -1, 0);
    char *wiped = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, flags, -1, 0);
    MUST(madvise(withheld, LENGTH, MADV_DONTFORK) == 0);
    MUST(madvise(wiped, LENGTH, MADV_WIPEONFORK) == 0);
    fill(withheld, LENGTH, 1);
    fill(wiped, LENGTH, 2);
    ready();
    do {
        MUST(holds(withheld, LENGTH, 1) && holds(wiped, LENGTH, 2));
    } while (!told());
    if (spoil) {
        MUST(madvise(wiped, LENGTH, MADV_KEEPONFORK) == 0);
    }
    MUST(holds(withheld, LENGTH, 1) && holds(wiped, LENGTH, 2));
    pid_t child = fork();
    if (child == 0) {
        unsigned char there;
        bool absent = mincore(withheld, 4096, &there) != 0 && errno == ENOMEM;
        _exit(absent && wiped[0] == 0 && wiped[LENGTH - 1] == 0 ? 0 : 1);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child && status == 0);
    return well();
}
