/* The clock, read a million times without a system call, never goes back. */
#include "specimen.h"
#include <sys/time.h>

static int64_t last;

static int64_t now(clockid_t clock) {
    struct timespec time;
    MUST(clock_gettime(clock, &time) == 0 && time.tv_nsec >= 0 && time.tv_nsec < 1000000000);
    return time.tv_sec * 1000000000 + time.tv_nsec;
}

static void look(int times) {
    for (int i = 0; i < times; i++) {
        int64_t time = now(CLOCK_MONOTONIC);
        MUST(time >= last);
        last = time;
    }
}

int main(int argc, char **argv) {
    begin(argc, argv);
    ready();
    do {
        look(1000);
    } while (!told_at_work());
    if (spoil) {
        last += 86400 * 1000000000l;
    }
    look(1000000);
    struct timeval time;
    struct timespec resolution;
    MUST(gettimeofday(&time, NULL) == 0 && clock_getres(CLOCK_MONOTONIC, &resolution) == 0);
    MUST(labs(now(CLOCK_REALTIME) / 1000000000 - time.tv_sec) <= 1);
    MUST(labs(now(CLOCK_REALTIME_COARSE) / 1000000000 - now(CLOCK_REALTIME) / 1000000000) <= 1);
    MUST(resolution.tv_sec == 0 && resolution.tv_nsec >= 1);
    MUST(now(CLOCK_PROCESS_CPUTIME_ID) > 0 && now(CLOCK_BOOTTIME) > 0);
    return well();
}
