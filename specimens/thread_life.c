/* Threads from before can be signalled and joined; new ones begin and end. */
#include "specimen.h"
#include <pthread.h>
#include <sys/syscall.h>

static volatile sig_atomic_t signals;
static volatile bool over;

static void on_signal(int number) {
    (void)number;
    signals++;
}

static void *rest(void *nothing) {
    (void)nothing;
    while (!over) {
        pause_for(1);
    }
    if (spoil) {
        /* Nobody is told of its end. */
        static int elsewhere;
        syscall(SYS_set_tid_address, &elsewhere);
    }
    return (void *)17;
}

static void *hasten(void *number) { return (void *)((uintptr_t)number * 2); }

static void join(pthread_t thread, uintptr_t expected) {
    struct timespec end;
    void *told;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += spoil ? 1 : 60;
    MUST(pthread_timedjoin_np(thread, &told, &end) == 0);
    MUST((uintptr_t)told == expected);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    signal(SIGUSR1, on_signal);
    pthread_t old, young[20];
    MUST(pthread_create(&old, NULL, rest, NULL) == 0);
    ready();
    while (!told()) {
    }
    for (int sent = 1; sent <= 10; sent++) {
        MUST(pthread_kill(old, SIGUSR1) == 0);
        while (signals < sent) {
            pause_for(1);
        }
    }
    over = true;
    join(old, 17);
    for (uintptr_t i = 0; i < 20; i++) {
        MUST(pthread_create(&young[i], NULL, hasten, (void *)i) == 0);
    }
    for (uintptr_t i = 0; i < 20; i++) {
        join(young[i], 2 * i);
    }
    return well();
}
