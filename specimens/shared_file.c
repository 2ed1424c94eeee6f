/* What is written into a shared map of a file reaches the file. */
#include "specimen.h"
#include <sys/mman.h>

#define LENGTH (16 * 4096)

int main(int argc, char **argv) {
    begin(argc, argv);
    int file = open(own("mapped"), O_CREAT | O_RDWR, 0600);
    MUST(ftruncate(file, LENGTH) == 0);
    char *map = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    MUST(map != MAP_FAILED);
    fill(map, LENGTH, 1);
    ready();
    do {
        MUST(holds(map, LENGTH, 1));
    } while (!told());
    if (spoil) {
        int flags = MAP_PRIVATE | MAP_FIXED;
        MUST(mmap(map, LENGTH, PROT_READ | PROT_WRITE, flags, file, 0) == map);
    }
    MUST(holds(map, LENGTH, 1));
    fill(map, LENGTH, 2);
    static char kept[LENGTH];
    int again = open(own("mapped"), O_RDONLY);
    MUST(read(again, kept, LENGTH) == LENGTH);
    MUST(holds(kept, LENGTH, 2));
    fill(kept, LENGTH, 3);
    MUST(pwrite(file, kept, LENGTH, 0) == LENGTH);
    MUST(holds(map, LENGTH, 3));
    return well();
}
