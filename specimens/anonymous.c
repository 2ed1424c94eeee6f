/* Anonymous memory: full pages, pages that are all zero, pages never touched, pages that may only be read. */
#include "specimen.h"
#include <sys/mman.h>

#define PAGE 4096
#define PAGES 64

static bool is_whole(char *memory) {
    static const char zero[PAGE];
    for (int page = 0; page < PAGES; page++) {
        char *here = memory + page * PAGE;
        bool as_it_was = page % 3 == 0 ? holds(here, PAGE, page) : memcmp(here, zero, PAGE) == 0;
        if (!as_it_was) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    char *memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *frozen = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(memory != MAP_FAILED && frozen != MAP_FAILED);
    for (int page = 0; page < PAGES; page++) {
        if (page % 3 == 0) {
            fill(memory + page * PAGE, PAGE, page);
            fill(frozen + page * PAGE, PAGE, page);
        } else if (page % 3 == 1) {
            memory[page * PAGE] = 0;
        }
    }
    MUST(mprotect(frozen, PAGES * PAGE, PROT_READ) == 0);
    ready();
    while (!told()) {
        MUST(holds(memory, PAGE, 0));
    }
    if (spoil) {
        memory[33 * PAGE + 77] ^= 1;
    }
    MUST(is_whole(memory) && is_whole(frozen));
    return well();
}
