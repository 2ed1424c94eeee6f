/* 100 GB of which eleven pages are there: the rest stays absent. Two others are guards, where the kernel has such. */
#include "specimen.h"
#include <setjmp.h>
#include <sys/mman.h>

#define LENGTH (100ul << 30)
#define STEP (10ul << 30)
#define GUARD (3 * STEP + 4096)
#define INSTALL 102

static long resident_pages(void) {
    char text[128] = {0};
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    MUST(read(file, text, sizeof text - 1) > 0 && close(file) == 0);
    long all, resident;
    MUST(sscanf(text, "%ld %ld", &all, &resident) == 2);
    return resident;
}

static sigjmp_buf back;

static void leap(int signal) {
    siglongjmp(back, signal);
}

/* Whether a touch raises SIGSEGV. */
static bool guards(volatile char *at) {
    struct sigaction leaps = {.sa_handler = leap}, before;
    MUST(sigaction(SIGSEGV, &leaps, &before) == 0);
    bool raised = sigsetjmp(back, 1) != 0;
    if (!raised) {
        (void)*at;
    }
    MUST(sigaction(SIGSEGV, &before, NULL) == 0);
    return raised;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, flags, -1, 0);
    MUST(memory != MAP_FAILED);
    for (unsigned long at = 0; at < LENGTH; at += STEP) {
        fill(memory + at, 4096, at);
    }
    fill(memory + LENGTH - 4096, 4096, LENGTH);
    bool guarded = madvise(memory + GUARD, 8192, INSTALL) == 0;
    ready();
    while (!told()) {
        MUST(holds(memory + 5 * STEP, 4096, 5 * STEP));
    }
    if (spoil) {
        madvise(memory + 7 * STEP, 4096, MADV_DONTNEED);
    }
    MUST(guards(memory + GUARD) == guarded && guards(memory + GUARD + 4096) == guarded);
    MUST(!guards(memory + GUARD + 8192));
    for (unsigned long at = 0; at < LENGTH; at += STEP) {
        MUST(holds(memory + at, 4096, at));
        MUST(memory[at + STEP / 2] == 0);
    }
    MUST(holds(memory + LENGTH - 4096, 4096, LENGTH));
    MUST(resident_pages() < 64 << 8);
    return well();
}
