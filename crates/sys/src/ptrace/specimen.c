/* Programs that are stopped and made to call by the tests of `ptrace`, and then check themselves. Each says
 * "ready" with what the test is to know, and ends with "good" or with what was wrong. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int stop;
static volatile int word;

static void say(const char *text) {
    printf("%s\n", text);
    fflush(stdout);
}

static int is(int argc, char **argv, const char *what) { return argc > 1 && !strcmp(argv[1], what); }

/* Counts twice, in memory and in a register; both are the same at the end. */
static struct { volatile unsigned long memory, copy; char pad[48]; } counters[64];

static void *count(void *at) {
    unsigned long i = (unsigned long)at, own = 0;
    double sum = 0;
    while (!stop) {
        counters[i].memory++;
        own++;
        sum += 1.0;
    }
    counters[i].copy = own;
    return (void *)(long)(own == counters[i].memory && sum == (double)own);
}

static void handler(int signal) { (void)signal; }

static int counting(int threads) {
    pthread_t made[64];
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGUSR1, &action, 0);
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigaction(SIGRTMIN + 3, &action, 0);
    signal(SIGHUP, SIG_IGN);
    for (long i = 1; i < threads; i++) pthread_create(&made[i], 0, count, (void *)i);
    printf("ready %lx %lx %lx", (unsigned long)counters, (unsigned long)&stop, syscall(SYS_brk, 0));
    for (int i = 1; i <= 65; i++) {
        unsigned long own[4] = {0};
        long result = syscall(SYS_rt_sigaction, i, 0, own, 8);
        printf(" %lx", result ? (unsigned long)errno : own[0] + own[1]);
    }
    say("");
    long good = (long)count(0);
    for (long i = 1; i < threads; i++) {
        void *result;
        pthread_join(made[i], &result);
        good &= (long)result;
    }
    say(good ? "good" : "a count is wrong");
    return 0;
}

static void *wake(void *unused) {
    char byte;
    if (read(0, &byte, 1) < 0) return unused;
    word = 1;
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, 0, 0, 0);
    return unused;
}

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static int waiting(const char *how) {
    char text[64] = {0};
    long result = -1, want = 0;
    double from = now(), least = 0;
    pthread_t waker;
    say("ready");
    if (!strcmp(how, "sleep")) {
        struct timespec span = {1, 0};
        result = syscall(SYS_nanosleep, &span, 0);
        least = 1;
    } else if (!strcmp(how, "read")) {
        result = syscall(SYS_read, 0, text, 5);
        want = 5;
        if (strcmp(text, "hello")) want = -2;
    } else if (!strcmp(how, "poll")) {
        struct pollfd polled = {0, POLLIN, 0};
        result = syscall(SYS_poll, &polled, 1, 1000000);
        want = polled.revents & POLLIN ? 1 : -2;
    } else if (!strcmp(how, "ppoll")) {
        struct pollfd polled = {0, POLLIN, 0};
        struct timespec span = {1000, 0};
        unsigned long mask = 1UL << (SIGUSR2 - 1);
        result = syscall(SYS_ppoll, &polled, 1, &span, &mask, 8);
        want = polled.revents & POLLIN ? 1 : -2;
    } else {
        struct timespec span = {1000, 0};
        pthread_create(&waker, 0, wake, 0);
        result = syscall(SYS_futex, &word, FUTEX_WAIT, 0, strcmp(how, "futex") ? &span : 0, 0, 0);
        /* Woken before it waits again, it finds the word changed: as after a signal. */
        if (result < 0 && errno == EAGAIN) result = 0;
        if (word != 1) want = -2;
    }
    if (result == want && now() - from >= least) say("good");
    else printf("%s: %ld, error %d, after %f s\n", how, result, errno, now() - from);
    return 0;
}

static int vectors(void) {
    unsigned char in[64], out[64] = {0};
    for (int i = 0; i < 64; i++) in[i] = i * 37 + 11;
    printf("ready 0 %lx\n", (unsigned long)&stop);
    fflush(stdout);
    __asm__ volatile("vmovdqu (%1), %%ymm13\n vmovdqu 32(%1), %%ymm7\n"
                     "1: cmpl $0, (%0)\n je 1b\n"
                     "vmovdqu %%ymm13, (%2)\n vmovdqu %%ymm7, 32(%2)\n vzeroupper"
                     : : "r"(&stop), "r"(in), "r"(out) : "memory", "xmm13", "xmm7");
    say(memcmp(in, out, 64) ? "vector registers have changed" : "good");
    return 0;
}

static volatile int seen[65], order[64], orders;

static void note(int signal, siginfo_t *info, void *context) {
    (void)context;
    seen[signal]++;
    if (signal >= SIGRTMIN && orders < 64) order[orders++] = info->si_value.sival_int;
}

/* Waits for its input to end, and tells which signals came. */
static int signals(const char *how) {
    struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
    char byte;
    for (int i = 1; i <= 64; i++)
        if (i != SIGKILL && i != SIGSTOP && i != 32 && i != 33 && i != SIGCONT) sigaction(i, &action, 0);
    if (!strcmp(how, "ignore-trap")) signal(SIGTRAP, SIG_IGN);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTRAP);
    sigaddset(&blocked, SIGUSR2);
    if (!strcmp(how, "block-trap")) pthread_sigmask(SIG_BLOCK, &blocked, 0);
    say("ready");
    while (read(0, &byte, 1) < 0 && errno == EINTR) {}
    pthread_sigmask(SIG_UNBLOCK, &blocked, 0);
    for (int i = 1; i <= 64; i++)
        if (seen[i]) printf("%d*%d ", i, seen[i]);
    for (int i = 0; i < orders; i++) printf("=%d ", order[i]);
    signal(SIGTRAP, SIG_DFL) == SIG_IGN ? say("trap is ignored") : say("good");
    return 0;
}

static void *come_and_go(void *unused) { return unused; }

/* Starts threads all the time. */
static int breeding(void) {
    say("ready");
    struct pollfd polled = {0, POLLIN, 0};
    while (!poll(&polled, 1, 0)) {
        pthread_t made[4];
        for (int i = 0; i < 4; i++)
            if (pthread_create(&made[i], 0, come_and_go, 0)) return 1;
        for (int i = 0; i < 4; i++) pthread_join(made[i], 0);
    }
    say("good");
    return 0;
}

int main(int argc, char **argv) {
    if (is(argc, argv, "count")) return counting(atoi(argv[2]));
    if (is(argc, argv, "wait")) return waiting(argv[2]);
    if (is(argc, argv, "vectors")) return vectors();
    if (is(argc, argv, "signals")) return signals(argv[2]);
    if (is(argc, argv, "breed")) return breeding();
    return 2;
}
