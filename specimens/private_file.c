/* A private map of a file: pages as in the file, a page that was written, one that was made all zero. */
#include "specimen.h"
#include <sys/mman.h>

#define PAGE 4096

static char *map;

static void look(void) {
    static const char zero[PAGE];
    MUST(holds(map, PAGE, 1));
    MUST(holds(map + PAGE, PAGE, 22));
    MUST(memcmp(map + 2 * PAGE, zero, PAGE) == 0);
    MUST(holds(map + 3 * PAGE, PAGE, 4));
}

int main(int argc, char **argv) {
    begin(argc, argv);
    static char text[4 * PAGE];
    for (int page = 0; page < 4; page++) {
        fill(text + page * PAGE, PAGE, page + 1);
    }
    int file = open(own("mapped"), O_CREAT | O_RDWR, 0600);
    MUST(write(file, text, sizeof text) == sizeof text);
    map = mmap(NULL, sizeof text, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    MUST(map != MAP_FAILED && close(file) == 0);
    fill(map + PAGE, PAGE, 22);
    memset(map + 2 * PAGE, 0, PAGE);
    ready();
    do {
        look();
    } while (!told());
    if (spoil) {
        /* As where the file was mapped again, and what was written forgotten. */
        madvise(map + PAGE, PAGE, MADV_DONTNEED);
    }
    look();
    fill(map + 3 * PAGE, PAGE, 44);
    static char kept[4 * PAGE];
    file = open(own("mapped"), O_RDONLY);
    MUST(read(file, kept, sizeof kept) == sizeof kept);
    MUST(memcmp(text, kept, sizeof kept) == 0);
    return well();
}
