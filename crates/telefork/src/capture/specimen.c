/* Programs that are captured by the tests, and then check themselves. Each says "ready" with what the test is to find
 * in the image, and ends, when its input does, with "good" or with what was wrong. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL

static volatile int stop, children_ended;
static const char *wrong;

static void check(int good, const char *what) {
    if (!good && !wrong) wrong = what;
}

static void say(unsigned long number) { printf(" %lx", number); }

/* Until the input ends. */
static void wait_for_end(void) {
    char byte;
    printf("\n");
    fflush(stdout);
    while (read(0, &byte, 1) != 0) {}
}

static void end(void) {
    puts(wrong ? wrong : "good");
    fflush(stdout);
}

static void handler(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    if (signal == SIGCHLD) children_ended++;
}

static char *map(unsigned long pages, int flags, int fd) {
    char *at = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (at == MAP_FAILED) exit(3);
    return at;
}

/* What the kernel keeps for a process and its main thread. */
static int kernel(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaddset(&action.sa_mask, SIGHUP);
    sigaction(SIGUSR1, &action, 0);
    signal(SIGPIPE, SIG_IGN);
    static char alternate[65536];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&stack, 0);
    umask(027);
    prctl(PR_SET_PDEATHSIG, SIGUSR2);
    prctl(PR_SET_NAME, "a (name) 1");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    struct rlimit limit = {123, 456};
    setrlimit(RLIMIT_NOFILE, &limit);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigaddset(&blocked, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &blocked, 0);
    union sigval value = {.sival_int = 4711};
    sigqueue(getpid(), SIGRTMIN + 1, value);
    pthread_kill(pthread_self(), SIGUSR2);
    struct itimerval interval = {{7, 500}, {1000, 0}};
    setitimer(ITIMER_REAL, &interval, 0);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2, .sigev_value = {.sival_ptr = &stack}};
    timer_t first, second;
    timer_create(CLOCK_MONOTONIC, &event, &first);
    event.sigev_notify = SIGEV_THREAD_ID;
    event._sigev_un._tid = getpid();
    timer_create(CLOCK_REALTIME, &event, &second);
    struct itimerspec spec = {{3, 4}, {5000, 0}};
    timer_settime(second, 0, &spec, 0);
    sbrk(3 * PAGE + 8);

    void *robust;
    size_t length;
    syscall(SYS_get_robust_list, 0, &robust, &length);
    unsigned long clear_tid = 0;
    prctl(PR_GET_TID_ADDRESS, &clear_tid);
    say((unsigned long)handler), say((unsigned long)alternate), say(sizeof alternate);
    say((unsigned long)&stack), say((unsigned long)robust), say(clear_tid), say((unsigned long)sbrk(0));
    wait_for_end();
    end();
    return 0;
}

/* Memory of all kinds; each page that has something begins with its own address. */
static void mark(char *at) { *(unsigned long *)at = (unsigned long)at; }

static int memory(const char *path) {
    char *plain = map(8, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    mark(plain), mark(plain + 5 * PAGE);
    plain[3 * PAGE] = 1, plain[3 * PAGE] = 0;
    mprotect(plain + 5 * PAGE, PAGE, PROT_NONE);
    mprotect(plain, PAGE, PROT_READ);

    char *sparse = mmap(0, 100UL << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sparse == MAP_FAILED) exit(4);
    madvise(sparse, 100UL << 30, MADV_NOHUGEPAGE);
    mark(sparse), mark(sparse + (50UL << 30)), mark(sparse + (99UL << 30));

    int file = open(path, O_RDWR | O_CREAT, 0600);
    for (unsigned long i = 0; i < 4 * PAGE / 8; i++) if (write(file, &i, 8) != 8) exit(5);
    if (write(file, "tail", 4) != 4) exit(5);
    char *private = map(6, MAP_PRIVATE, file);
    close(file);
    mark(private + PAGE);
    memset(private + 2 * PAGE, 0, PAGE);

    char *shared = map(4, MAP_SHARED | MAP_ANONYMOUS, -1);
    mark(shared + PAGE);
    int object = memfd_create("twice", 0);
    if (ftruncate(object, 3 * PAGE)) exit(6);
    char *once = map(3, MAP_SHARED, object), *again = map(3, MAP_SHARED, object);
    close(object);
    mark(once + 2 * PAGE);

    char *unforked = map(2, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    mark(unforked);
    madvise(unforked, 2 * PAGE, MADV_DONTFORK);
    char *wiped = map(2, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    mark(wiped + PAGE);
    madvise(wiped, 2 * PAGE, MADV_WIPEONFORK);

    char *guarded = map(8, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    mark(guarded + PAGE);
    int guards = !madvise(guarded + 3 * PAGE, 2 * PAGE, 102);

    char *large = map(1024, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    large = (char *)(((unsigned long)large + (2 << 20) - 1) & ~((2UL << 20) - 1));
    madvise(large, 2 << 20, MADV_HUGEPAGE);
    for (unsigned long i = 0; i < 512; i++) mark(large + i * PAGE);
    char *grows = mmap(0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
    mark(grows);

    say((unsigned long)plain), say((unsigned long)sparse), say((unsigned long)private), say((unsigned long)shared);
    say((unsigned long)once), say((unsigned long)again), say((unsigned long)unforked), say((unsigned long)wiped);
    say((unsigned long)guarded), say((unsigned long)guards), say((unsigned long)large), say((unsigned long)grows);
    wait_for_end();
    check(*(unsigned long *)(unforked) == (unsigned long)unforked, "unforked");
    check(*(unsigned long *)(wiped + PAGE) == (unsigned long)wiped + PAGE, "wiped");
    check(*(unsigned long *)(again + 2 * PAGE) == (unsigned long)once + 2 * PAGE, "shared");
    end();
    return 0;
}

/* Counts twice, in memory and in a register; both are the same at the end. Own children, and ends of some, would
 * be somebody else's. */
static struct { volatile unsigned long memory; char pad[56]; } counters[64];
static volatile int tids[64];

static void *count(void *at) {
    unsigned long i = (unsigned long)at, own = 0;
    double sum = 0;
    tids[i] = syscall(SYS_gettid);
    while (!stop) {
        counters[i].memory++;
        own++;
        sum += 1.0;
    }
    return (void *)(long)(own == counters[i].memory && sum == (double)own);
}

static int counting(int threads, unsigned long pages) {
    pthread_t made[64];
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGCHLD, &action, 0);
    char *heap = map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    madvise(heap, pages * PAGE, MADV_NOHUGEPAGE);
    for (unsigned long i = 0; i < pages; i++) mark(heap + i * PAGE);
    for (long i = 1; i < threads; i++) pthread_create(&made[i], 0, count, (void *)i);
    for (long i = 1; i < threads; i++) while (!tids[i]) {}
    say((unsigned long)heap), say((unsigned long)counters);
    for (long i = 1; i < threads; i++) say(tids[i]);
    wait_for_end();
    stop = 1;
    for (long i = 1; i < threads; i++) {
        void *result;
        pthread_join(made[i], &result);
        check(!!result, "a count is wrong");
    }
    for (unsigned long i = 0; i < pages; i++)
        check(*(unsigned long *)(heap + i * PAGE) == (unsigned long)heap + i * PAGE, "the heap has changed");
    check(waitpid(-1, 0, WNOHANG | __WALL) == -1 && errno == ECHILD, "a child stays");
    check(!children_ended, "a child was told of");
    end();
    return 0;
}

/* Waits in one call, which the test finds it in. */
static volatile int word;

static int waiting(const char *how) {
    struct timespec span = {1000, 0}, at = {1UL << 40, 0};
    printf(" %lx\n", (unsigned long)&span);
    fflush(stdout);
    if (!strcmp(how, "nanosleep")) syscall(SYS_nanosleep, &span, 0);
    if (!strcmp(how, "clock")) clock_nanosleep(CLOCK_MONOTONIC, 0, &span, 0);
    if (!strcmp(how, "moment")) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0);
    if (!strcmp(how, "poll")) poll(0, 0, 1000000);
    if (!strcmp(how, "futex"))
        __asm__ volatile("mov %0, %%r10\n xor %%r8d, %%r8d\n xor %%r9d, %%r9d\n mov $202, %%eax\n syscall" :
            : "r"(&span), "D"(&word), "S"(FUTEX_WAIT | FUTEX_PRIVATE_FLAG), "d"(0)
            : "rax", "rcx", "r8", "r9", "r10", "r11", "memory");
    if (!strcmp(how, "read")) { char byte; syscall(SYS_read, 0, &byte, 1); }
    if (!strcmp(how, "hidden")) {
        /* The number comes from elsewhere, and nothing near tells it. */
        static volatile long number = SYS_nanosleep;
        long result;
        __asm__ volatile("mov %1, %%rax\n .skip 64, 0x90\n syscall" : "=a"(result)
            : "m"(number), "D"(&span), "S"(0) : "rcx", "r11", "memory");
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    printf("ready");
    if (!strcmp(what, "kernel")) return kernel();
    if (!strcmp(what, "memory")) return memory(argv[2]);
    if (!strcmp(what, "count")) return counting(atoi(argv[2]), strtoul(argv[3], 0, 10));
    if (!strcmp(what, "adopt")) {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        counting(atoi(argv[2]), strtoul(argv[3], 0, 10));
        int adopts = 0;
        prctl(PR_GET_CHILD_SUBREAPER, &adopts);
        return !adopts;
    }
    if (!strcmp(what, "wait")) return waiting(argv[2]);
    return 2;
}
