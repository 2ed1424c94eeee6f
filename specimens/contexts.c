/* Coroutines on stacks of their own, switched by the program. */
#include "specimen.h"
#include <ucontext.h>

#define ROUTINES 4
#define STACK (64 << 10)

static ucontext_t home, contexts[ROUTINES];
static uint64_t *sums[ROUTINES];
static uint64_t turns;
static bool over;

static void work(int me) {
    uint64_t sum = 0, expected = 0, mine[16];
    fill(mine, sizeof mine, me);
    sums[me] = &sum;
    while (!over) {
        sum += turns * (me + 1);
        expected += turns * (me + 1);
        swapcontext(&contexts[me], me + 1 == ROUTINES ? &home : &contexts[me + 1]);
        MUST(sum == expected && holds(mine, sizeof mine, me));
    }
    if (me + 1 < ROUTINES) {
        setcontext(&contexts[me + 1]);
    }
}

int main(int argc, char **argv) {
    begin(argc, argv);
    for (int i = 0; i < ROUTINES; i++) {
        MUST(getcontext(&contexts[i]) == 0);
        contexts[i].uc_stack.ss_sp = malloc(STACK);
        contexts[i].uc_stack.ss_size = STACK;
        contexts[i].uc_link = &home;
        makecontext(&contexts[i], (void (*)(void))work, 1, i);
    }
    ready();
    do {
        turns++;
        MUST(swapcontext(&home, &contexts[0]) == 0);
    } while (!told());
    if (spoil) {
        (*sums[2])++;
    }
    over = true;
    MUST(swapcontext(&home, &contexts[0]) == 0);
    return well();
}
