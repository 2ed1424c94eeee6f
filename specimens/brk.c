/* The break is where it was, and grows from there. */
#include "specimen.h"

int main(int argc, char **argv) {
    begin(argc, argv);
    char *text = strdup("from the heap");
    char *start = sbrk(1 << 20);
    char *end = sbrk(0);
    MUST(end == start + (1 << 20));
    fill(start, 1 << 20, 1);
    ready();
    while (!told()) {
        MUST(sbrk(0) == end);
    }
    if (spoil) {
        MUST(brk(end + 4096) == 0);
    }
    MUST(sbrk(1 << 20) == end);
    fill(end, 1 << 20, 2);
    MUST(holds(start, 1 << 20, 1) && holds(end, 1 << 20, 2));
    /* The allocator goes on behind what was taken from under it. */
    for (int i = 0; i < 1000; i++) {
        char *block = malloc(1000 + i);
        MUST(block != NULL && (block + 1000 < start || block > end));
        memset(block, i, 1000 + i);
    }
    MUST(strcmp(text, "from the heap") == 0);
    return well();
}
