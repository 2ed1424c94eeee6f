/* The three interval timers go on, each with its interval. */
#include "specimen.h"
#include <sys/time.h>

static volatile sig_atomic_t ticks[65];

static void on_tick(int number) { ticks[number]++; }

int main(int argc, char **argv) {
    begin(argc, argv);
    static const int kinds[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
    static const int numbers[] = {SIGALRM, SIGVTALRM, SIGPROF};
    for (int i = 0; i < 3; i++) {
        struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
        MUST(sigaction(numbers[i], &action, NULL) == 0);
        struct itimerval span = {{0, 20000 + i * 4000}, {0, 10000}};
        MUST(setitimer(kinds[i], &span, NULL) == 0);
    }
    ready();
    while (!told()) {
    }
    if (spoil) {
        struct itimerval none = {{0, 0}, {0, 0}};
        MUST(setitimer(ITIMER_PROF, &none, NULL) == 0);
    }
    for (int i = 0; i < 3; i++) {
        struct itimerval now;
        MUST(getitimer(kinds[i], &now) == 0);
        /* The kernel counts two of them in ticks of its own. */
        MUST(labs(now.it_interval.tv_usec - (20000 + i * 4000)) < 4000 && now.it_interval.tv_sec == 0);
        MUST(now.it_value.tv_sec == 0 && now.it_value.tv_usec > 0);
        for (int before = ticks[numbers[i]]; ticks[numbers[i]] < before + 3;) {
        }
    }
    return well();
}
