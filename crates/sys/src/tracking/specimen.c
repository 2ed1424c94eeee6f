/* Changes its memory in all ways that there are, at random from the seed that it is given. `N` on standard input
   has it do N things and say so; `0` starts a thread that goes on doing things, and the next `0` ends it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define LARGE (512 * PAGE)
#define PAGES 2048UL

enum { OPEN, READ_ONLY, CLOSED, UNMAPPED, GUARDED };

static char *arena, *spare;
static unsigned char state[PAGES];
static int zeros, file;
static unsigned long long random_state;
static volatile int goes_on;
/* Stacks that fit into no hole of the memory below. */
static pthread_attr_t apart;
static int grown;

static unsigned long draw(unsigned long below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

/* A run of pages that all are in one of the states of `of` (bits). */
static unsigned long run_of(unsigned of, unsigned long max, unsigned long *len) {
    unsigned long at = draw(PAGES), n = 0, wanted = 1 + draw(max);
    while (n < wanted && at + n < PAGES && (of >> state[at + n] & 1))
        n++;
    *len = n;
    return at;
}

static void set(unsigned long at, unsigned long n, int to) { memset(state + at, to, n); }

static void scribble(char *at) {
    *(volatile unsigned long *)(at + draw(PAGE / 8) * 8) = draw(1000000007) + 1;
}

static void *write_elsewhere(void *at) {
    scribble(at);
    return 0;
}

static int deep(int left) {
    volatile char space[3000];
    space[draw(sizeof space)] = 1;
    return left ? deep(left - 1) + space[7] : 0;
}

static void *open_map(char *at, unsigned long n, int from, off_t offset) {
    int flags = MAP_PRIVATE | MAP_FIXED | (from < 0 ? MAP_ANONYMOUS : 0);
    return mmap(at, n * PAGE, PROT_READ | PROT_WRITE, flags, from, offset);
}

static int move(char *from, unsigned long n, char *to, int flags) {
    return mremap(from, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) != MAP_FAILED;
}

static void step(int alone) {
    unsigned long n, at;
    unsigned mapped = 1 << OPEN | 1 << READ_ONLY | 1 << CLOSED;
    switch (draw(26)) {
    default: /* a few pages here and there */
        for (int i = 0; i < 8; i++) {
            at = run_of(1 << OPEN, 1, &n);
            if (n)
                scribble(arena + at * PAGE);
        }
        break;
    case 0: /* many in a row */
        at = run_of(1 << OPEN, 700, &n);
        for (unsigned long i = 0; i < n; i++)
            scribble(arena + (at + i) * PAGE);
        break;
    case 1: /* the kernel writes */
        at = run_of(1 << OPEN, 5, &n);
        if (n)
            pread(draw(2) ? zeros : file, arena + at * PAGE, n * PAGE, 0);
        break;
    case 2: { /* another thread writes */
        pthread_t thread;
        at = run_of(1 << OPEN, 1, &n);
        if (n && alone && !pthread_create(&thread, &apart, write_elsewhere, arena + at * PAGE))
            pthread_join(thread, 0);
        break;
    }
    case 3: /* dropped */
    case 4:
        at = run_of(mapped, 60, &n);
        if (n)
            madvise(arena + at * PAGE, n * PAGE, MADV_DONTNEED);
        break;
    case 5: /* large pages are dropped whole */
        at = draw(PAGES / 512) * 512;
        for (n = 0; n < 512 && (mapped >> state[at + n] & 1); n++)
            ;
        if (n == 512)
            madvise(arena + at * PAGE, LARGE, MADV_DONTNEED);
        break;
    case 6: /* dropped and written again, or read */
        at = run_of(1 << OPEN, 20, &n);
        if (n) {
            madvise(arena + at * PAGE, n * PAGE, MADV_DONTNEED);
            if (draw(2))
                scribble(arena + at * PAGE);
            else
                (void)*(volatile char *)(arena + at * PAGE);
        }
        break;
    case 7: /* unmapped */
        at = run_of(mapped | 1 << GUARDED, 40, &n);
        if (n && !munmap(arena + at * PAGE, n * PAGE))
            set(at, n, UNMAPPED);
        break;
    case 8: /* mapped again, what was unmapped and what was not */
    case 9:
        at = run_of(~0u, 200, &n);
        if (n) {
            open_map(arena + at * PAGE, n, -1, 0);
            set(at, n, OPEN);
            if (draw(2))
                scribble(arena + at * PAGE);
        }
        break;
    case 10: /* a file comes there */
        at = run_of(~0u, 12, &n);
        if (n) {
            open_map(arena + at * PAGE, n, file, draw(4) * PAGE);
            set(at, n, OPEN);
            if (draw(2))
                scribble(arena + at * PAGE);
        }
        break;
    case 11: /* moved away and back, or to another place */
    case 12: {
        at = run_of(1 << OPEN, 600, &n);
        if (!n)
            break;
        unsigned long to = draw(2) ? at : draw(PAGES - n);
        if (move(arena + at * PAGE, n, spare, 0))
            set(at, n, UNMAPPED);
        else /* it is more than one mapping, some of which may be there now */
            open_map(arena + at * PAGE, n, -1, 0);
        if (state[at] == UNMAPPED && draw(2))
            scribble(spare);
        if (state[at] == UNMAPPED) {
            if (!move(spare, n, arena + to * PAGE, 0))
                open_map(arena + to * PAGE, n, -1, 0);
            set(to, n, OPEN);
        }
        munmap(spare, n * PAGE);
        break;
    }
    case 13: /* moved, and the place stays */
        at = run_of(1 << OPEN, 600, &n);
        if (n) {
            move(arena + at * PAGE, n, spare, 4);
            munmap(spare, n * PAGE);
        }
        break;
    case 14: /* grown over what is free behind it */
        at = run_of(1 << OPEN, 10, &n);
        if (n && at + n < PAGES && state[at + n] == UNMAPPED &&
            mremap(arena + at * PAGE, n * PAGE, (n + 1) * PAGE, 0) != MAP_FAILED)
            set(at + n, 1, OPEN);
        break;
    case 15: /* other permissions, and back */
    case 16: {
        int to = draw(3), flags[] = {PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE};
        at = run_of(mapped, 60, &n);
        if (n && !mprotect(arena + at * PAGE, n * PAGE, flags[to]))
            set(at, n, to);
        break;
    }
    case 17: /* collapsed into large pages */
        at = draw(PAGES / 512) * 512;
        madvise(arena + at * PAGE, LARGE, 25);
        break;
    case 18: /* swapped out, where there is a swap */
        at = run_of(mapped, 200, &n);
        if (n)
            madvise(arena + at * PAGE, n * PAGE, 21);
        break;
    case 19: /* free to be dropped */
        at = run_of(1 << OPEN, 30, &n);
        if (n)
            madvise(arena + at * PAGE, n * PAGE, MADV_FREE);
        break;
    case 20: { /* a child writes its own, and the parent copies */
        if (!alone)
            break;
        pid_t child = fork();
        if (child == 0) {
            for (unsigned long i = 0; i < PAGES; i++)
                if (state[i] == OPEN)
                    scribble(arena + i * PAGE);
            _exit(0);
        }
        for (int i = 0; i < 8; i++) {
            at = run_of(1 << OPEN, 1, &n);
            if (n)
                scribble(arena + at * PAGE);
        }
        waitpid(child, 0, 0);
        break;
    }
    case 21: /* the stack grows */
        deep(draw(40));
        break;
    case 22: /* the heap grows and shrinks */
        if (alone && draw(2)) {
            *(volatile char *)sbrk(3 * PAGE) = 1;
            grown += 3;
        } else if (alone && grown > 0 && grown--)
            sbrk(-(long)PAGE);
        break;
    case 23: { /* written by number of the process, read-only pages too */
        char bytes[64];
        memset(bytes, draw(256), sizeof bytes);
        at = run_of(1 << OPEN | 1 << READ_ONLY | 1 << CLOSED, 1, &n);
        int memory = n ? open("/proc/self/mem", O_RDWR) : -1;
        if (memory >= 0) {
            pwrite(memory, bytes, sizeof bytes, (off_t)(arena + at * PAGE));
            close(memory);
        }
        break;
    }
    case 24: /* guards, and none */
        at = run_of(1 << OPEN, 5, &n);
        if (n && !madvise(arena + at * PAGE, n * PAGE, 102)) {
            set(at, n, GUARDED);
            if (draw(2) && !madvise(arena + at * PAGE, n * PAGE, 103))
                set(at, n, OPEN);
        }
        break;
    }
}

static void *go_on(void *_) {
    while (goes_on)
        step(0);
    return _;
}

int main(int count, char **args) {
    random_state = strtoull(args[1], 0, 16) | 1;
    pthread_attr_init(&apart);
    pthread_attr_setstacksize(&apart, 64 << 20);
    zeros = open("/dev/zero", O_RDONLY);
    file = open(args[2], O_RDONLY);
    /* What lies around it stays, so that nobody else gets a hole of it that is larger. */
    char *place = mmap(0, 4 * PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    arena = (char *)(((unsigned long)place + 2 * LARGE) & ~(LARGE - 1));
    spare = arena + PAGES * PAGE + LARGE;
    munmap(spare - LARGE, LARGE);
    open_map(arena, PAGES, -1, 0);
    madvise(arena, PAGES * PAGE / 2, MADV_HUGEPAGE);
    for (unsigned long i = 0; i < PAGES; i++)
        if (draw(3))
            scribble(arena + i * PAGE);
    pthread_t thread;
    char line[32];
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int steps = atoi(line);
        for (int i = 0; i < steps; i++)
            step(1);
        if (steps == 0 && (goes_on = !goes_on))
            pthread_create(&thread, &apart, go_on, 0);
        else if (steps == 0)
            pthread_join(thread, 0);
        puts("done");
        fflush(stdout);
    }
    return 0;
}
