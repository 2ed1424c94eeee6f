/* The C library's allocator, with an arena for each of four threads. */
#include "specimen.h"
#include <pthread.h>

#define THREADS 4
#define BLOCKS 200

static volatile bool over;

static void *work(void *number) {
    uint64_t random = (uintptr_t)number * 77 + 1;
    struct {
        char *start;
        size_t length;
        uint64_t seed;
    } blocks[BLOCKS] = {0};
    uint64_t seed = 0;
    do {
        for (int i = 0; i < 200; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            int at = (random >> 33) % BLOCKS;
            MUST(holds(blocks[at].start, blocks[at].length, blocks[at].seed));
            if (random >> 62 == 0) {
                free(blocks[at].start);
                blocks[at].start = NULL;
                blocks[at].length = 0;
                continue;
            }
            blocks[at].length = ((random >> 40) % (random >> 60 == 5 ? 200000 : 2000)) & ~7ul;
            blocks[at].start = realloc(blocks[at].start, blocks[at].length + 8);
            blocks[at].seed = ++seed + ((uint64_t)(uintptr_t)number << 32);
            fill(blocks[at].start, blocks[at].length, blocks[at].seed);
        }
        pause_for(1);
    } while (!over);
    if (spoil && (uintptr_t)number == 2) {
        for (int at = 0; at < BLOCKS; at++) {
            if (blocks[at].length > 0) {
                blocks[at].start[0]++;
            }
        }
    }
    for (int at = 0; at < BLOCKS; at++) {
        MUST(holds(blocks[at].start, blocks[at].length, blocks[at].seed));
        free(blocks[at].start);
    }
    return NULL;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        MUST(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    }
    pause_for(5);
    ready();
    while (!told()) {
    }
    over = true;
    for (int i = 0; i < THREADS; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    return well();
}
