/* Calls that wait are made again where they are interrupted, and last no shorter for it. */
#include "specimen.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/select.h>
#include <sys/syscall.h>

static volatile bool over;
static uint32_t word;
static sem_t semaphore;
static uint64_t given, taken;
/* 25 ms: it is hardly ever out of its wait. */
static const struct timespec span = {0, 25000000};

static void on_signal(int number) { (void)number; }

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void sleep_once(void) { MUST(nanosleep(&span, NULL) == 0); }
static void poll_once(void) { MUST(poll(NULL, 0, 25) == 0); }

static void select_once(void) {
    struct timeval left = {0, 25000};
    MUST(select(0, NULL, NULL, NULL, &left) == 0);
}

static void futex_once(void) {
    MUST(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &span, NULL, 0) == -1 && errno == ETIMEDOUT);
}

static void until_once(void) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += 25000000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    MUST(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == 0);
}

static void *wait_again_and_again(void *once) {
    while (!over) {
        double begun = now();
        ((void (*)(void))(uintptr_t)once)();
        MUST(now() - begun > 0.0249);
    }
    return NULL;
}

static void *take_what_is_given(void *nothing) {
    while (sem_wait(&semaphore) == 0 && !over) {
        taken++;
    }
    MUST(over);
    return nothing;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    static void (*const waits[])(void) = {sleep_once, poll_once, select_once, futex_once, until_once};
    struct sigaction action = {.sa_handler = on_signal};
    MUST(sigaction(SIGUSR1, &action, NULL) == 0 && sem_init(&semaphore, 0, 0) == 0);
    pthread_t threads[6];
    for (int i = 0; i < 5; i++) {
        void *once = (void *)(uintptr_t)waits[i];
        MUST(pthread_create(&threads[i], NULL, wait_again_and_again, once) == 0);
    }
    MUST(pthread_create(&threads[5], NULL, take_what_is_given, NULL) == 0);
    pause_for(5);
    ready();
    while (!told()) {
        given++;
        sem_post(&semaphore);
    }
    for (int i = 0; spoil && i < 1000; i++) {
        /* Interrupted for good, as a signal with a handler does it. */
        pthread_kill(threads[i % 5], SIGUSR1);
        pause_for(1);
    }
    while (__atomic_load_n(&taken, __ATOMIC_SEQ_CST) != given) {
        pause_for(1);
    }
    over = true;
    sem_post(&semaphore);
    for (int i = 0; i < 6; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    return well();
}
