/* Each thread blocks the signals that it did. */
#include "specimen.h"
#include <pthread.h>

#define THREADS 3

static volatile bool over;
static volatile int started;

static void make(sigset_t *mask, int number) {
    sigemptyset(mask);
    sigaddset(mask, SIGUSR1);
    sigaddset(mask, SIGRTMIN + number);
    sigaddset(mask, SIGRTMAX - number);
}

static void look(int number) {
    sigset_t now, expected;
    make(&expected, number);
    MUST(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0);
    for (int at = 1; at < 65; at++) {
        MUST(sigismember(&now, at) == sigismember(&expected, at));
    }
}

static void *work(void *number) {
    sigset_t mask;
    make(&mask, (int)(uintptr_t)number);
    MUST(pthread_sigmask(SIG_SETMASK, &mask, NULL) == 0);
    __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
    while (!over) {
        look((int)(uintptr_t)number);
        pause_for(1);
    }
    if (spoil && (uintptr_t)number == 1) {
        sigaddset(&mask, SIGHUP);
        pthread_sigmask(SIG_SETMASK, &mask, NULL);
    }
    look((int)(uintptr_t)number);
    return NULL;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    pthread_t threads[THREADS];
    for (uintptr_t i = 1; i < THREADS; i++) {
        MUST(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    }
    sigset_t mask;
    make(&mask, 0);
    MUST(pthread_sigmask(SIG_SETMASK, &mask, NULL) == 0);
    while (started < THREADS - 1) {
        pause_for(1);
    }
    ready();
    while (!told()) {
        look(0);
    }
    over = true;
    look(0);
    for (int i = 1; i < THREADS; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    return well();
}
