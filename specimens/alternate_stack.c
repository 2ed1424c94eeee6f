/* A handler runs on the alternate stack of its thread. */
#include "specimen.h"
#include <pthread.h>

#define LENGTH (64 << 10)

static _Thread_local char *stack;
static _Thread_local volatile int seen;
static volatile bool over;

static void on_signal(int number) {
    char here;
    (void)number;
    seen = &here >= stack && &here < stack + LENGTH ? 1 : -1;
}

static void set_up(void) {
    stack = malloc(LENGTH);
    stack_t aside = {.ss_sp = stack, .ss_size = LENGTH};
    MUST(sigaltstack(&aside, NULL) == 0);
}

static void look(void) {
    seen = 0;
    MUST(pthread_kill(pthread_self(), SIGUSR1) == 0);
    MUST(seen == 1);
    stack_t now;
    MUST(sigaltstack(NULL, &now) == 0 && now.ss_sp == stack && now.ss_size == LENGTH);
}

static void *work(void *nothing) {
    set_up();
    while (!over) {
        look();
        pause_for(1);
    }
    if (spoil) {
        stack_t none = {.ss_flags = SS_DISABLE};
        MUST(sigaltstack(&none, NULL) == 0);
    }
    look();
    return nothing;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    MUST(sigaction(SIGUSR1, &action, NULL) == 0);
    set_up();
    pthread_t other;
    MUST(pthread_create(&other, NULL, work, NULL) == 0);
    pause_for(5);
    ready();
    do {
        look();
    } while (!told());
    over = true;
    look();
    MUST(pthread_join(other, NULL) == 0);
    return well();
}
