/* What the benchmark moves, and what it compares that with. Times are of CLOCK_MONOTONIC, which both ends of a move
 * on one host share; what it measured it says on its output, a word and numbers of nanoseconds each line.
 *
 *   heap MIB huge|small        has so much memory of random bytes, says `ready`, and looks at the clock over and over:
 *                              the longest time between two looks is how long it stood still. When its number is
 *                              another, it has woken elsewhere: `woke NUMBER STILL`, then when: `at TIME`. At SIGUSR1 it says
 *                              what it knows,
 *                              `still LONGEST`, and forgets it; at SIGUSR2 it forks, `fork RETURNED REAPED`.
 *   touch MIB COUNT            the same, and when it has woken it touches so many pages, each alone: `touch MEDIAN`
 *   raw-send MIB, raw-receive MIB    a copy of so much memory through descriptor 3, into huge pages: `received TIME`
 *   warm MIB                   has the host give the machine so much memory
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define PIECE (1ul << 20)

static volatile sig_atomic_t asked, forks;

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000l + time.tv_nsec;
}

static unsigned long next(unsigned long *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    return *seed ^= *seed << 17;
}

static char *memory(unsigned long len, int advice) {
    char *found = mmap(0, len + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED)
        exit(2);
    found = (char *)(((unsigned long)found + (2 << 20) - 1) & ~((2ul << 20) - 1));
    madvise(found, len, advice);
    return found;
}

static void fill(char *at, unsigned long len) {
    unsigned long seed = 88172645463325252ul;
    for (unsigned long word = 0; word < len / 8; word++)
        ((unsigned long *)at)[word] = next(&seed);
}

static void on_asked(int signal) {
    if (signal == SIGUSR1)
        asked = 1;
    else
        forks = 1;
}

static int by_value(const void *a, const void *b) {
    long left = *(const long *)a, right = *(const long *)b;
    return (left > right) - (left < right);
}

/* Each page once, all over the memory. */
static void touch(char *at, unsigned long len, unsigned long count) {
    long *times = malloc(count * sizeof *times);
    unsigned long pages = len / PAGE, step = 104729;
    for (unsigned long i = 0; i < count; i++) {
        volatile char *page = at + i * step % pages * PAGE;
        long start = now();
        (void)*page;
        times[i] = now() - start;
        /* As a program would that does something with it. */
        for (volatile int work = 0; work < 20000; work++)
            ;
    }
    /* Those that were there already cost nothing: only waiting is looked at. */
    qsort(times, count, sizeof *times, by_value);
    unsigned long first = 0;
    while (first < count && times[first] < 3000)
        first++;
    printf("touch %ld %lu\n", first < count ? times[first + (count - first) / 2] : 0, count - first);
    fflush(stdout);
    free(times);
}

static void look(char *heap, unsigned long len, unsigned long count) {
    long longest = 0, last = now();
    int number = syscall(SYS_getpid);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int found = syscall(SYS_getpid);
        long here = now();
        if (here - last > longest)
            longest = here - last;
        last = here;
        if (found != number) {
            number = found;
            printf("woke %d %ld\n", number, longest);
            fflush(stdout);
            if (count)
                touch(heap, len, count);
            else
                printf("at %ld\n", here), fflush(stdout);
            longest = 0, last = now();
        }
        if (asked) {
            asked = 0;
            printf("still %ld\n", longest);
            fflush(stdout);
            longest = 0, last = now();
        }
        if (forks) {
            forks = 0;
            long start = now();
            pid_t child = fork();
            if (child == 0)
                _exit(0);
            long returned = now() - start;
            waitpid(child, 0, 0);
            printf("fork %ld %ld\n", returned, now() - start);
            fflush(stdout);
            longest = 0, last = now();
        }
    }
}

static void all(ssize_t (*some)(int, void *, size_t), char *at, unsigned long len) {
    while (len) {
        ssize_t done = some(3, at, len < PIECE ? len : PIECE);
        if (done <= 0)
            exit(2);
        at += done, len -= done;
    }
}

static ssize_t send_some(int to, void *at, size_t len) { return write(to, at, len); }

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    unsigned long len = strtoul(argv[2], 0, 10) << 20;
    if (!strcmp(argv[1], "heap") || !strcmp(argv[1], "touch")) {
        int touches = argv[1][0] == 't';
        char *heap = memory(len, !touches && argc > 3 && !strcmp(argv[3], "huge") ? MADV_HUGEPAGE : MADV_NORMAL);
        fill(heap, len);
        signal(SIGUSR1, on_asked);
        signal(SIGUSR2, on_asked);
        look(heap, len, touches ? strtoul(argv[3], 0, 10) : 0);
    } else if (!strcmp(argv[1], "raw-send")) {
        char *from = memory(len, MADV_HUGEPAGE);
        fill(from, len);
        printf("ready\n");
        fflush(stdout);
        for (char line[16]; fgets(line, sizeof line, stdin);) {
            *(long *)from = now();
            all(send_some, from, len);
        }
    } else if (!strcmp(argv[1], "raw-receive")) {
        printf("ready\n");
        fflush(stdout);
        for (char line[16]; fgets(line, sizeof line, stdin);) {
            char *to = memory(len, MADV_HUGEPAGE);
            all(read, to, len);
            printf("received %ld\n", now() - *(long *)to);
            fflush(stdout);
            munmap(to, len);
        }
    } else if (!strcmp(argv[1], "warm")) {
        char *at = memory(len, MADV_HUGEPAGE);
        for (unsigned long page = 0; page < len; page += PAGE)
            at[page] = 1;
    }
    return 0;
}
