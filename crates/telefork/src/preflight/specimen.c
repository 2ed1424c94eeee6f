// A process that has exactly what its first word names. It says "ready PID" of whom to look at, or
// "cannot: why", and waits to be killed; what it started ends with it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

static long must(long result) {
    if (result < 0) {
        printf("cannot: %s\n", strerror(errno));
        fflush(stdout);
        exit(0);
    }
    return result;
}

static void wait_for_ever(void) {
    for (;;) pause();
}

static pid_t child(void) {
    pid_t pid = must(fork());
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        wait_for_ever();
    }
    return pid;
}

static int is(const char *name, char **argv) { return strcmp(argv[1], name) == 0; }

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Whatever whoever started the tests had open is none of its own.
    for (int fd = 3; fd < 1024; fd++) close(fd);
    if (!is("group", argv)) setsid();
    pid_t subject = getpid();
    int ends[2];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    const char *file = argc > 2 ? argv[2] : "";

    if (is("io_uring", argv)) {
        char parameters[120] = {0};
        must(syscall(425, 4, parameters));
    } else if (is("device", argv)) {
        must(open("/dev/kmsg", O_RDONLY));
    } else if (is("socket", argv)) {
        must(socket(AF_INET, SOCK_STREAM, 0));
    } else if (is("pipe", argv)) {
        must(pipe(ends));
    } else if (is("epoll", argv)) {
        must(epoll_create1(0));
    } else if (is("eventfd", argv)) {
        must(eventfd(0, 0));
    } else if (is("timerfd", argv)) {
        must(timerfd_create(CLOCK_MONOTONIC, 0));
    } else if (is("signalfd", argv)) {
        must(signalfd(-1, &set, 0));
    } else if (is("inotify", argv)) {
        must(inotify_init());
    } else if (is("memfd", argv)) {
        must(memfd_create("a", 0));
    } else if (is("pidfd", argv)) {
        must(syscall(SYS_pidfd_open, getpid(), 0));
    } else if (is("userfaultfd", argv)) {
        must(syscall(SYS_userfaultfd, O_CLOEXEC | 1));
    } else if (is("tracked", argv)) {
        // As `sys::tracking` does it.
        int fd = must(syscall(SYS_userfaultfd, O_CLOEXEC | 1));
        uint64_t api[3] = {0xaa, 1 << 15 | 1 << 13, 0};
        must(ioctl(fd, 0xc018aa3f, api));
        char *at = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(at, 1, 1 << 16);
        uint64_t range[4] = {(uint64_t)at, 1 << 16, 2, 0};
        must(ioctl(fd, 0xc020aa00, range));
        must(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
        must(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
    } else if (is("master", argv)) {
        must(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    } else if (is("proc", argv)) {
        must(open("/proc/self/stat", O_RDONLY));
    } else if (is("lock", argv)) {
        must(flock(must(open(file, O_RDWR | O_CREAT, 0600)), LOCK_EX));
    } else if (is("child", argv)) {
        child();
    } else if (is("traced", argv)) {
        subject = child();
        must(ptrace(PTRACE_SEIZE, subject, 0, 0));
    } else if (is("seccomp", argv)) {
        struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
        struct sock_fprog program = {1, allow};
        must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    } else if (is("vfork", argv)) {
        printf("ready %d\n", subject);
        fflush(stdout);
        if (vfork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            wait_for_ever();
        }
    } else if (is("sysv", argv)) {
        int id = must(shmget(IPC_PRIVATE, 4096, 0600));
        void *at = shmat(id, NULL, 0);
        shmctl(id, IPC_RMID, NULL);
        must((long)at);
    } else if (is("written", argv)) {
        int fd = must(open(file, O_RDWR | O_CREAT, 0600));
        must(ftruncate(fd, 4096));
        must((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
        close(fd);
    } else if (is("hugetlb", argv)) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE;
        must((long)mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, flags, -1, 0));
    } else if (is("mapped-device", argv)) {
        int fd = must(open("/dev/mem", O_RDONLY));
        must((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0xf0000));
        close(fd);
    } else if (is("folder", argv)) {
        must(mkdir(file, 0700));
        must(chdir(file));
        must(rmdir(file));
    } else if (is("namespace", argv)) {
        must(syscall(SYS_unshare, 0x20000));
    } else if (is("files", argv)) {
        // All of it travels.
        int fd = must(open(file, O_RDWR | O_CREAT | O_APPEND, 0600));
        must(dup(fd));
        must(write(fd, "text", 4));
        must(open("/tmp", O_RDONLY | O_DIRECTORY));
        must(open("/dev/urandom", O_RDONLY));
        must((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    }
    printf("ready %d\n", subject);
    fflush(stdout);
    wait_for_ever();
}
