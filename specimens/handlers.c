/* What was to be done about each signal still is, and is done. */
#include "specimen.h"

static volatile sig_atomic_t plain, informed, value;

static void on_plain(int number) { plain = number; }

static void on_informed(int number, siginfo_t *told, void *context) {
    (void)context;
    informed = number;
    value = told->si_value.sival_int;
    sigset_t now;
    MUST(sigprocmask(SIG_BLOCK, NULL, &now) == 0);
    MUST(sigismember(&now, SIGWINCH) && sigismember(&now, SIGRTMIN) && !sigismember(&now, SIGUSR1));
}

int main(int argc, char **argv) {
    begin(argc, argv);
    static struct sigaction before[65], after;
    struct sigaction action = {.sa_handler = on_plain, .sa_flags = SA_RESTART};
    MUST(sigaction(SIGUSR1, &action, NULL) == 0);
    action = (struct sigaction){.sa_sigaction = on_informed, .sa_flags = SA_SIGINFO};
    sigaddset(&action.sa_mask, SIGWINCH);
    MUST(sigaction(SIGRTMIN, &action, NULL) == 0);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    for (int number = 1; number < 65; number++) {
        sigaction(number, NULL, &before[number]);
    }
    ready();
    while (!told()) {
    }
    if (spoil) {
        signal(SIGUSR2, SIG_DFL);
    }
    for (int number = 1; number < 65; number++) {
        if (sigaction(number, NULL, &after) == 0) {
            MUST(after.sa_handler == before[number].sa_handler);
            MUST(after.sa_flags == before[number].sa_flags);
            MUST(memcmp(&after.sa_mask, &before[number].sa_mask, 8) == 0);
        }
    }
    MUST(raise(SIGUSR1) == 0 && plain == SIGUSR1);
    MUST(raise(SIGUSR2) == 0);
    MUST(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 321}) == 0);
    MUST(informed == SIGRTMIN && value == 321);
    return well();
}
