/* A timerfd goes on to tick. */
#include "specimen.h"
#include <sys/timerfd.h>

int main(int argc, char **argv) {
    begin(argc, argv);
    int fast = timerfd_create(CLOCK_MONOTONIC, 0), slow = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    struct itimerspec span = {{0, 10000000}, {0, 10000000}}, now;
    MUST(timerfd_settime(fast, 0, &span, NULL) == 0);
    span = (struct itimerspec){{0, 0}, {3600, 0}};
    MUST(timerfd_settime(slow, 0, &span, NULL) == 0);
    ready();
    uint64_t got;
    while (!told_at_work()) {
        MUST(read(fast, &got, 8) == 8 && got >= 1);
    }
    if (spoil) {
        span.it_value.tv_sec = 0;
        MUST(timerfd_settime(slow, 0, &span, NULL) == 0);
    }
    MUST(timerfd_gettime(slow, &now) == 0 && now.it_value.tv_sec > 3000 && now.it_value.tv_sec < 3600);
    MUST(read(slow, &got, 8) == -1 && errno == EAGAIN);
    MUST(timerfd_gettime(fast, &now) == 0 && now.it_interval.tv_nsec == 10000000);
    for (int i = 0; i < 3; i++) {
        MUST(read(fast, &got, 8) == 8 && got >= 1);
    }
    return well();
}
