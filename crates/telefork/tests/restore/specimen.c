// A process that is copied while all of this goes on, and then checks itself. SIGUSR1 asks it to. Its exit
// status is 0, or the line of the check that failed (by 200).
#define _GNU_SOURCE
#include <errno.h>
#include <linux/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void failed(int line) {
    char text[64];
    int n = snprintf(text, sizeof text, "specimen %d failed at line %d: %s\n", getpid(), line, strerror(errno));
    if (write(2, text, n) < 0) _exit(99);
    _exit(line % 200 ? line % 200 : 199);
}
#define CHECK(it) do { if (!(it)) failed(__LINE__); } while (0)

enum { WORKERS = 4 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static uint64_t counts[WORKERS], total;
static int turn;
static volatile int stop, asked, vector_bad;
static volatile uint64_t ticks, told, vector_rounds;
static __thread int mine;
static volatile void *handled_at;

static void *work(void *arg) {
    int number = (int)(intptr_t)arg;
    mine = number + 100;
    while (!stop) {
        CHECK(pthread_mutex_lock(&lock) == 0);
        while (turn != number && !stop) CHECK(pthread_cond_wait(&turned, &lock) == 0);
        counts[number]++;
        total++;
        turn = (number + 1) % WORKERS;
        CHECK(pthread_cond_broadcast(&turned) == 0);
        CHECK(pthread_mutex_unlock(&lock) == 0);
        CHECK(mine == number + 100);
    }
    return arg;
}

// Holds a pattern in vector registers and a rounding mode, and looks whether they stay.
static void *vectors(void *arg) {
    unsigned mxcsr = 0x1f80 | 0x6000 | 0x8000, found;
    uint64_t pattern[8] = {1, 2, 3, 4, 5, 6, 7, 8}, back[8];
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    int wide = __builtin_cpu_supports("avx2");
    while (!stop) {
        memset(back, 0, sizeof back);
        if (wide)
            __asm__ volatile("vmovdqu (%1), %%ymm7\n vmovdqu 32(%1), %%ymm15\n mov $200000, %%ecx\n"
                             "1: dec %%ecx\n jnz 1b\n vmovdqu %%ymm7, (%2)\n vmovdqu %%ymm15, 32(%2)\n"
                             : "=m"(back) : "r"(pattern), "r"(back) : "ecx", "xmm7", "xmm15", "memory");
        else
            memcpy(back, pattern, sizeof back);
        __asm__ volatile("stmxcsr %0" : "=m"(found));
        if (memcmp(back, pattern, sizeof back) || (found & ~0x3fu) != mxcsr) vector_bad = 1;
        vector_rounds++;
    }
    return arg;
}

static void ask(int signal) { asked = 1; }
static void tick(int signal) { ticks++; }
static void tell(int signal, siginfo_t *info, void *context) { told++; }
static void where(int signal, siginfo_t *info, void *context) { char here; handled_at = &here; }

static int deep(int left) {
    volatile char room[4096];
    room[0] = left;
    return left ? deep(left - 1) + room[0] - (char)left : 0;
}

static uint64_t now(void) {
    struct timespec at;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &at) == 0);
    return at.tv_sec * 1000000000ull + at.tv_nsec;
}

int main(int argc, char **argv) {
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    umask(027);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = 333;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(prctl(PR_SET_NAME, "specimen-main") == 0);

    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    CHECK(sigaltstack(&alternate, 0) == 0);
    struct sigaction action = {.sa_sigaction = where, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaddset(&action.sa_mask, SIGHUP);
    CHECK(sigaction(SIGUSR2, &action, 0) == 0);
    signal(SIGUSR1, ask);
    signal(SIGALRM, tick);
    signal(SIGPIPE, SIG_IGN);
    struct sigaction told_action = {.sa_sigaction = tell, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGRTMIN + 1, &told_action, 0) == 0);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGWINCH);
    sigaddset(&blocked, SIGRTMIN + 2);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, 0) == 0);
    CHECK(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 77}) == 0);
    CHECK(pthread_kill(pthread_self(), SIGWINCH) == 0);

    pthread_t workers[WORKERS], vector;
    for (int i = 0; i < WORKERS; i++) CHECK(pthread_create(&workers[i], 0, work, (void *)(intptr_t)i) == 0);
    CHECK(pthread_create(&vector, 0, vectors, 0) == 0);
    CHECK(pthread_setname_np(vector, "vectors") == 0);
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_t careful;
    pthread_mutex_init(&careful, &kind);

    struct itimerval often = {{0, 5000}, {0, 5000}};
    CHECK(setitimer(ITIMER_REAL, &often, 0) == 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
    timer_t none, timer;
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &none) == 0);
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_delete(none) == 0);
    struct itimerspec soon = {{0, 7000000}, {0, 7000000}};
    CHECK(timer_settime(timer, 0, &soon, 0) == 0);

    size_t page = 4096;
    char *shared = mmap(0, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *guarded = mmap(0, 8 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shy = mmap(0, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *code = mmap(0, page, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && guarded != MAP_FAILED && shy != MAP_FAILED && code != MAP_FAILED);
    strcpy(shared + page, "shared");
    strcpy(guarded, "before the guard");
    CHECK(mprotect(guarded + 4 * page, page, PROT_NONE) == 0);
    CHECK(madvise(guarded + 6 * page, 2 * page, MADV_DONTDUMP) == 0);
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, shy, 2 * page, "shy memory");
    strcpy(shy, "hidden");
    CHECK(mprotect(shy, 2 * page, PROT_NONE) == 0);
    memcpy(code, "\xb8\x2a\0\0\0\xc3", 6);
    char *broken = sbrk(3 * page);
    strcpy(broken, "broken");
    size_t large = 24 << 20;
    unsigned char *heap = malloc(large);
    for (size_t i = 0; i < large; i += 97) heap[i] = i * 31 >> 3;
    char *auxiliary = (char *)getauxval(AT_RANDOM);
    char random[16];
    memcpy(random, auxiliary, 16);
    uint64_t before = now();
    while (total < 1000 || ticks < 2 || told < 2) usleep(1000);
    CHECK(write(1, "ready\n", 6) == 6);

    while (!asked) {
        uint64_t at = now();
        CHECK(at >= before);
        before = at;
        usleep(2000);
    }

    // Threads go on, and end when they are asked to.
    uint64_t seen[WORKERS], rounds = vector_rounds, ticked = ticks, tolled = told;
    memcpy(seen, counts, sizeof seen);
    for (int i = 0; i < WORKERS; i++)
        while (*(volatile uint64_t *)&counts[i] < seen[i] + 50) usleep(500);
    while (vector_rounds < rounds + 20) usleep(500);
    while (ticks < ticked + 3 || told < tolled + 3) usleep(500);
    // Clocks, with the kernel's own code or without.
    for (int i = 0; i < CLOCK_CALLS; i++) {
        uint64_t at = now();
        CHECK(at >= before);
        before = at;
        if (i % 10 == 0) CHECK(sched_getcpu() >= 0);
    }
    CHECK(time(0) > 1600000000);
    // What knows the processor is told when it changes.
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET(i, &all)) continue;
        CPU_ZERO(&one);
        CPU_SET(i, &one);
        CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
        CHECK(sched_getcpu() == i);
    }
    for (int i = 0; i < WORKERS; i++) CHECK(pthread_kill(workers[i], 0) == 0);
    CHECK(pthread_mutex_lock(&lock) == 0);
    stop = 1;
    CHECK(pthread_cond_broadcast(&turned) == 0);
    CHECK(pthread_mutex_unlock(&lock) == 0);
    for (int i = 0; i < WORKERS; i++) {
        void *result;
        CHECK(pthread_join(workers[i], &result) == 0 && result == (void *)(intptr_t)i);
    }
    CHECK(pthread_join(vector, 0) == 0 && !vector_bad);
    uint64_t sum = 0;
    for (int i = 0; i < WORKERS; i++) sum += counts[i];
    CHECK(sum == total);
    CHECK(pthread_mutex_lock(&careful) == 0 && pthread_mutex_lock(&careful) == EDEADLK);
    CHECK(pthread_mutex_unlock(&careful) == 0);
    pthread_t another;
    CHECK(pthread_create(&another, 0, vectors, 0) == 0 && pthread_join(another, 0) == 0);

    // Signals: handlers, their stack and mask, what waits, what is ignored.
    CHECK(raise(SIGUSR2) == 0);
    CHECK((char *)handled_at > stack && (char *)handled_at < stack + sizeof stack);
    CHECK(sigaction(SIGUSR2, 0, &action) == 0 && sigismember(&action.sa_mask, SIGHUP) == 1);
    struct sigaction ignored;
    CHECK(sigaction(SIGPIPE, 0, &ignored) == 0 && ignored.sa_handler == SIG_IGN);
    CHECK(sigaction(SIGTERM, 0, &ignored) == 0 && ignored.sa_handler == SIG_DFL);
    siginfo_t info;
    struct timespec zero = {0, 0};
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGRTMIN + 2);
    CHECK(sigtimedwait(&some, &info, &zero) == SIGRTMIN + 2 && info.si_value.sival_int == 77);
    sigemptyset(&some);
    sigaddset(&some, SIGWINCH);
    CHECK(sigtimedwait(&some, &info, &zero) == SIGWINCH);
    CHECK(info.si_code == SI_USER && info.si_pid > 0);

    // Memory.
    CHECK(!strcmp(shared + page, "shared") && !strcmp(guarded, "before the guard"));
    CHECK(mprotect(shy, 2 * page, PROT_READ) == 0 && !strcmp(shy, "hidden"));
    CHECK(((int (*)(void))code)() == 42);
    CHECK(!strcmp(broken, "broken") && sbrk(0) >= (void *)(broken + 3 * page));
    void *end = sbrk(0);
    CHECK(sbrk(1 << 20) == end && memset(end, 1, 1 << 20));
    for (size_t i = 0; i < large; i += 97) CHECK(heap[i] == (unsigned char)(i * 31 >> 3));
    free(heap);
    pid_t child = fork();
    if (!child) _exit(strcpy(shared, "child") != shared);
    CHECK(child > 0);
    CHECK(deep(300) == 0);
    while (strcmp(shared, "child")) usleep(500);

    // What the kernel keeps.
    char text[256] = {0};
    CHECK(umask(0) == 027);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 333);
    CHECK(prctl(PR_GET_NAME, text) == 0 && !strcmp(text, "specimen-main"));
    CHECK(getcwd(text, sizeof text) && !strcmp(text, argv[1]));
    CHECK(!memcmp((char *)getauxval(AT_RANDOM), random, 16));
    FILE *file = fopen("/proc/self/cmdline", "r");
    memset(text, 0, sizeof text);
    CHECK(file && fread(text, 1, sizeof text, file) > 0 && !strcmp(text, argv[0]));
    CHECK(readlink("/proc/self/exe", text, sizeof text) > 0);
    return 0;
}
