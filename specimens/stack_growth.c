/* The stack of the main thread grows on demand, up to its limit. */
#include "specimen.h"
#include <sys/resource.h>

static void on_fault(int number) {
    (void)number;
    differs("the stack grows", __FILE__, __LINE__);
}

__attribute__((noinline)) static uint64_t dive(int depth) {
    volatile char room[4096];
    room[0] = room[4095] = (char)depth;
    uint64_t below = depth == 0 ? 0 : dive(depth - 1);
    return below + (unsigned char)room[0] + (unsigned char)room[4095];
}

int main(int argc, char **argv) {
    begin(argc, argv);
    stack_t aside = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
    MUST(sigaltstack(&aside, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
    struct rlimit limit;
    MUST(getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur >= 6 << 20);
    uint64_t shallow = dive(20);
    ready();
    while (!told()) {
        MUST(dive(20) == shallow);
    }
    if (spoil) {
        limit.rlim_cur = 256 << 10;
        MUST(setrlimit(RLIMIT_STACK, &limit) == 0);
    }
    /* 4 MiB and a little more. */
    uint64_t sum = dive(1023);
    MUST(sum == 2 * 4 * (255 * 256 / 2));
    return well();
}
