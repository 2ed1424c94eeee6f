/* A process whose memory changes in every way, on command, and which can check all of it.

   d  dirties one page in a hundred           c  changes all else
   w  writes to memory that is shared         q  checks everything, and ends with 0 if all was right */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096
#define MIB (1 << 20)
#define BIG ((size_t)BIG_MIB * MIB)
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

static char *big, *freed, *dropped, *half, *arena, *grown, *fresh, *again, *shared, *guarded;
static uint32_t *generation;
static int changes, has_guards;
static void *break_now;
static __thread uint64_t own = 0x1234;
static volatile uint64_t other_own, other_local;
/* Of the program's file: the first page is written before, and let go of later. */
static char table[4 * PAGE] __attribute__((aligned(PAGE))) = { 1, 2, 3 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static int asked, answered;

static void fill(char *at, size_t len, uint64_t with) {
    for (size_t page = 0; page < len / PAGE; page++) {
        uint64_t *words = (uint64_t *)(at + page * PAGE);
        for (size_t word = 0; word < PAGE / 8; word++)
            words[word] = (with + page) * 0x9e3779b97f4a7c15u + word + 1;
    }
}

static int holds(const char *at, size_t len, uint64_t with) {
    for (size_t page = 0; page < len / PAGE; page++) {
        const uint64_t *words = (const uint64_t *)(at + page * PAGE);
        for (size_t word = 0; word < PAGE / 8; word++)
            if (words[word] != (with + page) * 0x9e3779b97f4a7c15u + word + 1) return 0;
    }
    return 1;
}

static int is_zero(const char *at, size_t len) {
    for (size_t byte = 0; byte < len; byte++)
        if (at[byte]) return 0;
    return 1;
}

static char *map(size_t len, int protection, int flags) {
    char *at = mmap(NULL, len, protection, MAP_ANONYMOUS | flags, -1, 0);
    if (at == MAP_FAILED) abort();
    return at;
}

static sigjmp_buf back;
static void fault(int signal) { siglongjmp(back, signal); }

static int can_write(char *at) {
    if (sigsetjmp(back, 1)) return 0;
    *(volatile char *)at = *(volatile char *)at;
    return 1;
}

static int can_read(char *at) {
    if (sigsetjmp(back, 1)) return 0;
    (void)*(volatile char *)at;
    return 1;
}

/* Has memory of its own that changes: a stack, and what is thread-local. */
static void *second(void *unused) {
    volatile uint64_t local = 7;
    own = 0x5678;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (asked == answered) pthread_cond_wait(&turn, &lock);
        local += 5;
        own += 3;
        other_own = own;
        other_local = local;
        answered = asked;
        pthread_cond_broadcast(&turn);
    }
    return unused;
}

static void ask(void) {
    pthread_mutex_lock(&lock);
    asked++;
    pthread_cond_broadcast(&turn);
    while (asked != answered) pthread_cond_wait(&turn, &lock);
    pthread_mutex_unlock(&lock);
}

static void dirty(void) {
    for (size_t page = changes; page < BIG / PAGE; page += 100) {
        generation[page]++;
        fill(big + page * PAGE, PAGE, generation[page] * 1000003u + page);
    }
    changes++;
}

static void change(void) {
    own += 1;
    ask();
    if (freed) munmap(freed, MIB), freed = NULL;
    madvise(dropped, MIB, MADV_DONTNEED);
    mprotect(half, MIB / 2, PROT_READ);
    mprotect(arena, MIB / 4, PROT_READ | PROT_WRITE);
    fill(arena, MIB / 4, 11);
    grown = sbrk(MIB / 2);
    memset(grown, 0x5a, MIB / 2);
    break_now = sbrk(0);
    fresh = map(3 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    fill(fresh, 3 * MIB, 17 + changes);
    munmap(again, MIB);
    if (mmap(again, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != again) abort();
    fill(again + MIB / 2, PAGE, 23);
    madvise(table, PAGE, MADV_DONTNEED);
    table[2 * PAGE] = 77;
    fill(shared, MIB, 31 + changes);
    if (has_guards) {
        madvise(guarded, PAGE, MADV_GUARD_REMOVE);
        guarded[0] = 9;
        madvise(guarded + 2 * PAGE, PAGE, MADV_GUARD_REMOVE);
        madvise(guarded + 4 * PAGE, PAGE, MADV_GUARD_INSTALL);
    }
    changes += 1000;
}

static int wrong(const char *what) {
    dprintf(2, "wrong: %s\n", what);
    return 1;
}

static int check(void) {
    int bad = 0, changed = changes >= 1000;
    for (size_t page = 0; page < BIG / PAGE && !bad; page++)
        if (!holds(big + page * PAGE, PAGE, generation[page] * 1000003u + page)) bad |= wrong("big");
    if (own != 0x1234u + changes / 1000) bad |= wrong("thread-local memory");
    uint64_t local = other_local;
    uint64_t told = other_own;
    ask();
    if (other_local != local + 5 || other_own != told + 3) bad |= wrong("the second thread");
    if (changed) {
        if (freed) bad |= wrong("freed");
        if (!is_zero(dropped, MIB)) bad |= wrong("dropped");
        if (can_write(half) || !can_write(half + MIB / 2)) bad |= wrong("protection");
        if (!holds(arena, MIB / 4, 11) || can_read(arena + MIB / 4)) bad |= wrong("arena");
        if (sbrk(0) != break_now || grown[MIB / 2 - 1] != 0x5a || sbrk(PAGE) != break_now) bad |= wrong("break");
        if (!holds(fresh, 3 * MIB, 17 + changes - 1000)) bad |= wrong("fresh");
        if (!is_zero(again, MIB / 2) || !holds(again + MIB / 2, PAGE, 23)
            || !is_zero(again + MIB / 2 + PAGE, MIB / 2 - PAGE)) bad |= wrong("again");
        if (table[0] != 1 || table[1] != 2 || table[2] != 3 || table[2 * PAGE] != 77) bad |= wrong("table");
        if (!holds(shared, MIB, 31 + changes - 1000)) bad |= wrong("shared");
        if (has_guards && (guarded[0] != 9 || !is_zero(guarded + 2 * PAGE, PAGE) || can_read(guarded + 4 * PAGE)))
            bad |= wrong("guards");
    } else {
        if (!holds(freed, MIB, 3) || !holds(dropped, MIB, 5) || !holds(again, MIB, 7)) bad |= wrong("memory");
        if (!can_write(half) || can_read(arena)) bad |= wrong("protection");
        if (table[0] != 42 || !holds(shared, MIB, 29)) bad |= wrong("table");
        if (has_guards && (can_read(guarded) || can_read(guarded + 2 * PAGE))) bad |= wrong("guards");
    }
    char *more = malloc(3 * MIB);
    memset(more, 1, 3 * MIB);
    free(more);
    return bad;
}

int main(void) {
    /* Whoever started us has others open that cannot travel. */
    syscall(SYS_close_range, 3, ~0U, 0);
    struct sigaction action = { .sa_handler = fault, .sa_flags = SA_NODEFER };
    sigaction(SIGSEGV, &action, NULL);
    big = map(BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    generation = calloc(BIG / PAGE, sizeof *generation);
    for (size_t page = 0; page < BIG / PAGE; page++) fill(big + page * PAGE, PAGE, page);
    freed = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    map(PAGE, PROT_NONE, MAP_PRIVATE);
    dropped = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    again = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    half = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    arena = map(MIB, PROT_NONE, MAP_PRIVATE);
    shared = map(MIB, PROT_READ | PROT_WRITE, MAP_SHARED);
    guarded = map(MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    fill(freed, MIB, 3);
    fill(dropped, MIB, 5);
    fill(again, MIB, 7);
    fill(half, MIB, 9);
    fill(shared, MIB, 29);
    fill(guarded, MIB, 1);
    has_guards = !madvise(guarded, PAGE, MADV_GUARD_INSTALL)
        && !madvise(guarded + 2 * PAGE, PAGE, MADV_GUARD_INSTALL);
    table[0] = 42;
    pthread_t thread;
    pthread_create(&thread, NULL, second, NULL);
    ask();
    for (;;) {
        if (write(1, ".", 1) != 1) return 2;
        char command;
        if (read(0, &command, 1) != 1) return 3;
        if (command == 'd') dirty();
        if (command == 'c') change();
        if (command == 'w') fill(shared, MIB, 99);
        if (command == 'q') return check();
    }
}
