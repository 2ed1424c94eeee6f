/* Memory with the advice to use huge pages keeps its content and the advice. */
#include "specimen.h"
#include <sys/mman.h>

#define HUGE (2ul << 20)
#define LENGTH (4 * HUGE)

static bool is_advised(void *memory) {
    char line[512], from[32];
    snprintf(from, sizeof from, "%lx-", (unsigned long)memory);
    FILE *maps = fopen("/proc/self/smaps", "re");
    bool here = false, advised = false;
    while (fgets(line, sizeof line, maps) != NULL) {
        if (strncmp(line, from, strlen(from)) == 0) {
            here = true;
        }
        if (here && strncmp(line, "VmFlags:", 8) == 0) {
            advised = strstr(line, " hg") != NULL;
            break;
        }
    }
    MUST(fclose(maps) == 0 && here);
    return advised;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    /* With unmapped room on both sides, so that it is a mapping of its own. */
    char *room = mmap(NULL, LENGTH + 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(room != MAP_FAILED);
    char *memory = (char *)(((uintptr_t)room + HUGE) & ~(HUGE - 1));
    MUST(mprotect(memory, LENGTH, PROT_READ | PROT_WRITE) == 0);
    MUST(madvise(memory, LENGTH, MADV_HUGEPAGE) == 0);
    fill(memory, LENGTH, 1);
    MUST(is_advised(memory));
    ready();
    while (!told()) {
        MUST(holds(memory + HUGE, 4096, 1 + HUGE / 8));
    }
    if (spoil) {
        MUST(madvise(memory, LENGTH, MADV_NOHUGEPAGE) == 0);
    }
    MUST(holds(memory, LENGTH, 1));
    MUST(is_advised(memory));
    return well();
}
