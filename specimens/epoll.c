/* An epoll with what it watches and what it says then. */
#include "specimen.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

int main(int argc, char **argv) {
    begin(argc, argv);
    int poll = epoll_create1(EPOLL_CLOEXEC), quiet = eventfd(0, 0), loud = eventfd(1, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1234567887654321};
    MUST(epoll_ctl(poll, EPOLL_CTL_ADD, quiet, &event) == 0);
    ready();
    struct epoll_event got[2];
    bool end = false;
    while (!end) {
        /* The kernel says EINTR wherever it is stopped; every program has to make this call again. */
        int count = epoll_wait(poll, got, 2, 10);
        MUST(count == 0 || (count == -1 && errno == EINTR));
        end = told_at_work();
    }
    if (spoil) {
        MUST(epoll_ctl(poll, EPOLL_CTL_DEL, quiet, NULL) == 0);
    }
    event = (struct epoll_event){.events = EPOLLIN, .data.u32 = 5};
    MUST(epoll_ctl(poll, EPOLL_CTL_ADD, quiet, &event) == -1 && errno == EEXIST);
    MUST(epoll_ctl(poll, EPOLL_CTL_ADD, loud, &event) == 0);
    MUST(epoll_wait(poll, got, 2, 0) == 1 && got[0].data.u32 == 5);
    uint64_t one = 1;
    MUST(write(quiet, &one, 8) == 8 && epoll_wait(poll, got, 2, 0) == 2);
    MUST(got[0].data.u64 == 0x1234567887654321 || got[1].data.u64 == 0x1234567887654321);
    return well();
}
