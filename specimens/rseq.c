/* A restartable sequence: the kernel tells the thread which processor it is on, wherever it goes. */
#include "specimen.h"
#include <sched.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

static struct rseq *area(void) {
    return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* Goes to every processor that it may use, and asks there. */
static void look(const cpu_set_t *usable) {
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, usable)) {
            continue;
        }
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        MUST(sched_setaffinity(0, sizeof one, &one) == 0);
        MUST(sched_getcpu() == cpu);
        MUST(__atomic_load_n(&area()->cpu_id, __ATOMIC_RELAXED) == (unsigned)cpu);
    }
    MUST(sched_setaffinity(0, sizeof *usable, usable) == 0);
}

int main(int argc, char **argv) {
    begin(argc, argv);
    if (__rseq_size == 0) {
        dprintf(1, "skipped: the C library has registered no restartable sequence\n");
        ready();
        return 0;
    }
    cpu_set_t usable;
    MUST(sched_getaffinity(0, sizeof usable, &usable) == 0);
    look(&usable);
    ready();
    while (!told()) {
        unsigned told_by_kernel = __atomic_load_n(&area()->cpu_id, __ATOMIC_RELAXED);
        MUST(told_by_kernel < CPU_SETSIZE && CPU_ISSET(told_by_kernel, &usable));
    }
    if (spoil) {
        int unregister = 1;
        MUST(syscall(SYS_rseq, area(), 32, unregister, RSEQ_SIG) == 0);
    }
    /* The other host may have fewer. */
    MUST(sched_getaffinity(0, sizeof usable, &usable) == 0);
    look(&usable);
    return well();
}
