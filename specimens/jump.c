/* A jump back to a place that was marked before it was moved. */
#include "specimen.h"
#include <setjmp.h>

static jmp_buf place;
static sigjmp_buf with_mask;

__attribute__((noinline)) static int far_away(int depth, int value) {
    volatile char room[256];
    room[0] = (char)depth;
    if (depth == 0 && value != 0) {
        longjmp(place, value);
    }
    return depth == 0 ? 0 : far_away(depth - 1, value) + room[0];
}

int main(int argc, char **argv) {
    begin(argc, argv);
    volatile int kept = 5;
    sigset_t mask, now;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    int value = sigsetjmp(with_mask, 1);
    if (value == 99) {
        sigprocmask(SIG_SETMASK, NULL, &now);
        MUST(sigismember(&now, SIGUSR1) && !sigismember(&now, SIGUSR2) && kept == 6);
        return well();
    }
    value = setjmp(place);
    if (value == 0) {
        ready();
        while (!told()) {
        }
        kept++;
        far_away(50, spoil ? 18 : 17);
    }
    MUST(value == 17 && kept == 6);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    siglongjmp(with_mask, 99);
}
