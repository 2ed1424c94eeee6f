/* A thread that ends with a robust mutex in its hands: the kernel finds the mutex by the thread's list. */
#include "specimen.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

static pthread_mutex_t mutex;
static volatile bool over, held;

static void *hold(void *nothing) {
    MUST(pthread_mutex_lock(&mutex) == 0);
    held = true;
    while (!over) {
        pause_for(1);
    }
    if (spoil) {
        static struct robust_list_head none = {.list = {&none.list}};
        MUST(syscall(SYS_set_robust_list, &none, sizeof none) == 0);
    }
    return nothing;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    MUST(pthread_mutex_init(&mutex, &kind) == 0);
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, hold, NULL) == 0);
    while (!held) {
        pause_for(1);
    }
    ready();
    while (!told()) {
        MUST(pthread_mutex_trylock(&mutex) == EBUSY);
    }
    over = true;
    MUST(pthread_join(thread, NULL) == 0);
    MUST(pthread_mutex_trylock(&mutex) == EOWNERDEAD);
    MUST(pthread_mutex_consistent(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0);
    MUST(pthread_mutex_lock(&mutex) == 0);
    return well();
}
