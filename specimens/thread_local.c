/* Variables of threads, errno among them. */
#include "specimen.h"
#include <pthread.h>

#define THREADS 4

static _Thread_local uint64_t mine[8];
static _Thread_local int initialised = 4711;
static _Thread_local const char *address;
static volatile bool over;
static volatile int started;

static void set_up(uint64_t seed) {
    fill(mine, sizeof mine, seed);
    address = (const char *)&mine;
    initialised += seed;
    errno = 100 + (int)seed;
}

static void look(uint64_t seed) {
    int error = errno;
    MUST(error == 100 + (int)seed);
    MUST(holds(mine, sizeof mine, seed) && address == (const char *)&mine);
    MUST(initialised == 4711 + (int)seed);
    errno = error;
}

static void *work(void *number) {
    set_up((uintptr_t)number);
    __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
    while (!over) {
        look((uintptr_t)number);
        pause_for(1);
    }
    if (spoil && (uintptr_t)number == 3) {
        initialised++;
    }
    look((uintptr_t)number);
    return NULL;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    pthread_t threads[THREADS];
    for (uintptr_t i = 1; i < THREADS; i++) {
        MUST(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    }
    while (started < THREADS - 1) {
        pause_for(1);
    }
    ready();
    set_up(0);
    bool end = false;
    while (!end) {
        pause_for(1);
        look(0);
        end = told_at_work();
        errno = 100;
    }
    over = true;
    for (int i = 1; i < THREADS; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    return well();
}
