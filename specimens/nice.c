/* Threads of which each stands back as far as it wants to, and may be woken as late. */
#include "specimen.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define THREADS 3

static pthread_barrier_t all;
static int first;

static int nice_of(int number) { return first + number < 19 ? first + number : 19; }

static void check(int number) {
    MUST(getpriority(PRIO_PROCESS, 0) == nice_of(number));
    MUST(prctl(PR_GET_TIMERSLACK) == 100000 + number);
}

static void become(int number) {
    MUST(setpriority(PRIO_PROCESS, 0, nice_of(number)) == 0);
    MUST(prctl(PR_SET_TIMERSLACK, 100000 + number) == 0);
    check(number);
}

static void *work(void *own) {
    int number = (int)(uintptr_t)own;
    become(number);
    pthread_barrier_wait(&all);
    while (!told())
        check(number);
    return NULL;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    pthread_t threads[THREADS];
    int now = getpriority(PRIO_PROCESS, 0);
    first = now > 0 ? now + 1 : 1;
    MUST(pthread_barrier_init(&all, NULL, THREADS + 1) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    pthread_barrier_wait(&all);
    become(0);
    ready();
    while (!told())
        check(0);
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_join(threads[i], NULL) == 0);
    if (spoil)
        MUST(prctl(PR_SET_TIMERSLACK, 50000) == 0);
    check(0);
    return well();
}
