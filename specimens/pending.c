/* Signals that wait behind a mask: those of the process and of a thread, queued ones in order with values. */
#include "specimen.h"
#include <pthread.h>
#include <sys/syscall.h>

static int take(const sigset_t *set, siginfo_t *told) {
    static const struct timespec none = {0, 0};
    return sigtimedwait(set, told, &none);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    sigset_t all, queued;
    sigemptyset(&all);
    sigemptyset(&queued);
    sigaddset(&queued, SIGRTMIN + 1);
    sigaddset(&all, SIGRTMIN + 1);
    sigaddset(&all, SIGUSR1);
    sigaddset(&all, SIGTERM);
    MUST(sigprocmask(SIG_BLOCK, &all, NULL) == 0);
    for (int value = 0; value < 5; value++) {
        MUST(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 100 + value}) == 0);
    }
    MUST(pthread_sigqueue(pthread_self(), SIGRTMIN + 1, (union sigval){.sival_int = 55}) == 0);
    MUST(kill(getpid(), SIGTERM) == 0 && kill(getpid(), SIGTERM) == 0);
    MUST(pthread_kill(pthread_self(), SIGUSR1) == 0);
    pid_t sender = getpid();
    ready();
    while (!told()) {
    }
    siginfo_t told_of;
    if (spoil) {
        MUST(take(&queued, &told_of) == SIGRTMIN + 1);
    }
    /* The thread's own come first. */
    MUST(take(&queued, &told_of) == SIGRTMIN + 1 && told_of.si_value.sival_int == 55);
    for (int value = 0; value < 5; value++) {
        MUST(take(&queued, &told_of) == SIGRTMIN + 1);
        MUST(told_of.si_code == SI_QUEUE && told_of.si_value.sival_int == 100 + value);
        MUST(told_of.si_pid == sender && told_of.si_uid == getuid());
    }
    /* The C library says SI_USER for SI_TKILL. */
    MUST(take(&all, &told_of) == SIGUSR1 && told_of.si_code == SI_USER && told_of.si_pid == sender);
    MUST(take(&all, &told_of) == SIGTERM && told_of.si_code == SI_USER);
    MUST(take(&all, &told_of) == -1 && errno == EAGAIN);
    return well();
}
