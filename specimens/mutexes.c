/* Mutexes that know their owner, held while it is moved: the owner is the same thread, by its new number. */
#include "specimen.h"
#include <pthread.h>
#include <sys/prctl.h>

static pthread_mutex_t checked, recursive, robust, inherited;

static void make(pthread_mutex_t *mutex, int type, int robustness, int protocol) {
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    MUST(pthread_mutexattr_settype(&kind, type) == 0);
    MUST(pthread_mutexattr_setrobust(&kind, robustness) == 0);
    MUST(pthread_mutexattr_setprotocol(&kind, protocol) == 0);
    MUST(pthread_mutex_init(mutex, &kind) == 0 && pthread_mutex_lock(mutex) == 0);
}

static void *trespass(void *nothing) {
    MUST(pthread_mutex_trylock(&checked) == EBUSY && pthread_mutex_unlock(&checked) == EPERM);
    MUST(pthread_mutex_trylock(&recursive) == EBUSY && pthread_mutex_unlock(&recursive) == EPERM);
    MUST(pthread_mutex_trylock(&robust) == EBUSY);
    return nothing;
}

static void look(void) {
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec += 1;
    MUST(pthread_mutex_timedlock(&checked, &soon) == EDEADLK);
    MUST(pthread_mutex_trylock(&recursive) == 0 && pthread_mutex_unlock(&recursive) == 0);
    pthread_t other;
    MUST(pthread_create(&other, NULL, trespass, NULL) == 0 && pthread_join(other, NULL) == 0);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    make(&checked, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
    make(&recursive, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
    MUST(pthread_mutex_lock(&recursive) == 0);
    make(&robust, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE);
    make(&inherited, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE);
    ready();
    do {
        look();
    } while (!told());
    if (spoil) {
        /* The C library believes in another thread number, as it would in its old one. */
        int *number;
        MUST(prctl(PR_GET_TID_ADDRESS, &number) == 0);
        *number += 1;
    }
    look();
    MUST(pthread_mutex_unlock(&checked) == 0 && pthread_mutex_unlock(&checked) == EPERM);
    MUST(pthread_mutex_unlock(&recursive) == 0 && pthread_mutex_unlock(&recursive) == 0);
    MUST(pthread_mutex_unlock(&recursive) == EPERM);
    MUST(pthread_mutex_unlock(&robust) == 0 && pthread_mutex_unlock(&inherited) == 0);
    return well();
}
