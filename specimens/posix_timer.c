/* Timers of the process: their numbers, their signals with values, what is left of their time. */
#include "specimen.h"

static volatile sig_atomic_t ticks, value;

static void on_tick(int number, siginfo_t *told, void *context) {
    (void)number, (void)context;
    value = told->si_value.sival_int;
    ticks++;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    MUST(sigaction(SIGRTMIN + 2, &action, NULL) == 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2};
    timer_t gone, fast, slow;
    /* The numbers that the kernel gives have a hole. */
    MUST(timer_create(CLOCK_MONOTONIC, &event, &gone) == 0);
    event.sigev_value.sival_int = 77;
    MUST(timer_create(CLOCK_MONOTONIC, &event, &fast) == 0);
    event.sigev_value.sival_int = 88;
    MUST(timer_create(CLOCK_REALTIME, &event, &slow) == 0);
    MUST(timer_delete(gone) == 0);
    struct itimerspec span = {{0, 10000000}, {0, 10000000}};
    MUST(timer_settime(fast, 0, &span, NULL) == 0);
    span = (struct itimerspec){{0, 0}, {3600, 0}};
    MUST(timer_settime(slow, 0, &span, NULL) == 0);
    ready();
    while (!told()) {
    }
    if (spoil) {
        MUST(timer_delete(slow) == 0);
    }
    struct itimerspec now;
    MUST(timer_gettime(slow, &now) == 0);
    MUST(now.it_value.tv_sec > 3000 && now.it_value.tv_sec < 3600 && now.it_interval.tv_sec == 0);
    MUST(timer_gettime(fast, &now) == 0 && now.it_interval.tv_nsec == 10000000);
    MUST(timer_gettime(gone, &now) != 0);
    for (int before = ticks; ticks < before + 5;) {
        pause_for(1);
    }
    MUST(value == 77);
    return well();
}
