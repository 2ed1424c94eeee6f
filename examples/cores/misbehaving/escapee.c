/*
 * A core that tries to get out of its jail, one way for each command. It answers what came of it:
 * "ok", the error's text, or what it found.
 *
 *   read PATH          reads a file's first byte
 *   list PATH          lists a folder; answers how many entries it has
 *   write PATH         makes a file
 *   tcp ADDRESS PORT   connects over TCP, waiting for a second at most
 *   unix PATH          connects to a Unix socket; a path that begins with @ is an abstract name
 *   linger NAME        leaves a daemon behind (double fork, session of its own) called NAME
 *   babble NAME        leaves daemons behind, called NAME, that fill the worker's pipe to the node
 *   burn MS            two threads run for so long; answers the processor time that they got, in ms
 *   exec-crash         executes a program that crashes; answers whether a core was dumped
 *   bomb N NAME        forks N times, all of whom stay, called NAME; answers how many there were
 *   fill MIB           writes a file until it may not, MIB at most; answers how many MiB, and why
 *   inodes N           makes empty files until it may not, N at most; answers how many, and why
 *   leak-child MIB     a child of its takes MIB of memory; answers how the child ended
 *   ptrace PID         attaches to a process
 *   peek PID           reads a process's memory
 *   kill PID           sends SIGTERM to a process
 *   signals            ignores SIGTERM and SIGINT, catches SIGSEGV, then loops for ever
 *   segv-handler       catches SIGSEGV, returns from it again and again
 *   _exit N            ends at once with N
 *   threads N          starts N threads that go on after the job; answers how many started
 *   tiocsti            types into the terminal: standard input, and /dev/tty
 *   dumps              answers the limit of core dumps and whether a core may be dumped
 *   shm NAME           leaves shared memory with a name behind
 *   sysv KEY           leaves shared memory with a number behind
 *   flood N            writes N lines to standard error
 *   long-line MIB      writes so much to standard error without a newline
 *   setuid PATH        runs PATH with -u and answers what it prints
 *   calls              makes system calls that no core needs; answers those that were not refused
 *                      as unknown
 *   processes          answers how many processes /proc shows
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "farcall_core.h"

static char text[16384];

int32_t worker_init(int32_t version)
{
    return version == FARCALL_CORE_API_VERSION ? 0 : 1;
}

static void outcome(int failed)
{
    snprintf(text, sizeof text, "%s", failed ? strerror(errno) : "ok");
}

static void tcp(const char *host, int port)
{
    struct sockaddr_in at;
    struct pollfd wait;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int error = 0;
    socklen_t size = sizeof error;
    if (fd < 0) {
        outcome(1);
        return;
    }
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_port = htons((uint16_t)port);
    inet_pton(AF_INET, host, &at.sin_addr);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) && errno != EINPROGRESS) {
        outcome(1);
    } else {
        wait.fd = fd;
        wait.events = POLLOUT;
        if (poll(&wait, 1, 1000) == 0) {
            strcpy(text, "no answer");
        } else {
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
            errno = error;
            outcome(error != 0);
        }
    }
    close(fd);
}

static void unix_socket(const char *path)
{
    struct sockaddr_un at;
    size_t length = strlen(path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(&at, 0, sizeof at);
    at.sun_family = AF_UNIX;
    strncpy(at.sun_path, path, sizeof at.sun_path - 1);
    if (path[0] == '@')
        at.sun_path[0] = 0;
    outcome(fd < 0
            || connect(fd, (struct sockaddr *)&at,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length
                                   + (path[0] == '@' ? 0 : 1))));
    if (fd >= 0)
        close(fd);
}

static void stay(const char *name)
{
    prctl(PR_SET_NAME, name);
    for (;;)
        pause();
}

static void linger(const char *name)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        setsid();
        signal(SIGHUP, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        if (fork() == 0)
            stay(name);
        _exit(0);
    }
    outcome(child < 0 || waitpid(child, &status, 0) < 0);
}

static void babble(const char *name)
{
    /* Frames of the node's protocol that mean nothing, as many as a pipe takes in one piece. */
    static char block[240 * 17];
    int i, status;
    for (i = 0; i < 240; i++) {
        block[i * 17] = 0x28;
        block[i * 17 + 1] = 7;
    }
    fcntl(4, F_SETPIPE_SZ, 1 << 20);
    for (i = 0; i < 4; i++) {
        pid_t child = fork();
        if (child == 0) {
            setsid();
            signal(SIGPIPE, SIG_IGN);
            if (fork() == 0) {
                prctl(PR_SET_NAME, name);
                for (;;)
                    if (write(4, block, sizeof block) < 0)
                        pause();
            }
            _exit(0);
        }
        waitpid(child, &status, 0);
    }
    strcpy(text, "ok");
}

static volatile int burning;

static void *burn_one(void *nothing)
{
    while (burning)
        ;
    return nothing;
}

static void burn(long milliseconds)
{
    pthread_t threads[2];
    struct timespec used, wait = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    int i;
    burning = 1;
    for (i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, burn_one, NULL);
    nanosleep(&wait, NULL);
    burning = 0;
    for (i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    sprintf(text, "%ld", (long)(used.tv_sec * 1000 + used.tv_nsec / 1000000));
}

/* A program that is executed may be dumped again; only the limit stands against it. */
static void exec_crash(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "kill -SEGV $$", (char *)NULL);
        _exit(97);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0)
        outcome(1);
    else if (WIFSIGNALED(status))
        sprintf(text, "signal %d%s", WTERMSIG(status), WCOREDUMP(status) ? ", dumped" : "");
    else
        sprintf(text, "code %d", WEXITSTATUS(status));
}

static void bomb(long wanted, const char *name)
{
    long made = 0;
    while (made < wanted) {
        pid_t child = fork();
        if (child < 0)
            break;
        if (child == 0) {
            /* And on: each of them tries the same. */
            while (fork() > 0)
                ;
            stay(name);
        }
        made++;
    }
    sprintf(text, "%ld", made);
}

static void fill(long mib)
{
    static char block[1 << 20];
    long done = 0;
    int fd = open("filled", O_CREAT | O_WRONLY, 0600);
    while (done < mib && write(fd, block, sizeof block) == (ssize_t)sizeof block)
        done++;
    sprintf(text, "%ld %s", done, done == mib ? "ok" : strerror(errno));
    close(fd);
    unlink("filled");
}

static void inodes(long wanted)
{
    char name[32];
    long made = 0, at;
    for (; made < wanted; made++) {
        int fd;
        sprintf(name, "i%ld", made);
        fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (fd < 0)
            break;
        close(fd);
    }
    sprintf(text, "%ld %s", made, made == wanted ? "ok" : strerror(errno));
    for (at = 0; at < made; at++) {
        sprintf(name, "i%ld", at);
        unlink(name);
    }
}

static void touch(long mib)
{
    long i;
    for (i = 0; i < mib; i++) {
        char *block = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED)
            _exit(98);
        memset(block, 1, 1 << 20);
    }
}

static void leak_child(long mib)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        touch(mib);
        _exit(0);
    }
    if (child < 0) {
        outcome(1);
        return;
    }
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        sprintf(text, "signal %d", WTERMSIG(status));
    else
        sprintf(text, "code %d", WEXITSTATUS(status));
}

static void peek(pid_t of)
{
    char byte;
    struct iovec here = {&byte, 1};
    struct iovec there = {(void *)0x400000, 1};
    /* EFAULT would mean that we may, and that nothing is there. */
    outcome(process_vm_readv(of, &here, 1, &there, 1, 0) < 0 && errno != EFAULT);
}

static void caught(int number)
{
    (void)number;
}

static void *spin(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

static void threads(long wanted)
{
    long made = 0;
    pthread_t thread;
    while (made < wanted && pthread_create(&thread, NULL, spin, NULL) == 0)
        made++;
    sprintf(text, "%ld", made);
}

static void tiocsti(void)
{
    char letter = 'x';
    int tty = open("/dev/tty", O_RDWR);
    char *end = text;
    char twelve[2] = {12, 0};
    end += sprintf(end, "stdin %s", ioctl(0, TIOCSTI, &letter) ? "refused" : "ok");
    end += sprintf(end, ", tty %s",
                   tty < 0 || ioctl(tty, TIOCSTI, &letter) ? "refused" : "ok");
    sprintf(end, ", TIOCLINUX %s", ioctl(0, TIOCLINUX, twelve) ? "refused" : "ok");
}

static void dumps(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    sprintf(text, "%lu %d", (unsigned long)limit.rlim_max, prctl(PR_GET_DUMPABLE));
}

static void flood(long lines)
{
    char line[64];
    long i;
    for (i = 0; i < lines; i++) {
        int length = sprintf(line, "line %ld\n", i);
        if (write(2, line, (size_t)length) < 0)
            break;
    }
    sprintf(text, "%ld", i);
}

static void long_line(long mib)
{
    static char block[1 << 20];
    long i;
    memset(block, 'x', sizeof block);
    for (i = 0; i < mib; i++) {
        size_t done = 0;
        while (done < sizeof block) {
            ssize_t count = write(2, block + done, sizeof block - done);
            if (count <= 0)
                break;
            done += (size_t)count;
        }
    }
    sprintf(text, "%ld", i);
}

static void run_setuid(const char *path)
{
    char command[512];
    FILE *out;
    snprintf(command, sizeof command, "%s -u 2>&1", path);
    out = popen(command, "r");
    if (!out || !fgets(text, sizeof text, out))
        strcpy(text, "nothing");
    text[strcspn(text, "\n")] = 0;
    if (out)
        pclose(out);
}

static void processes(void)
{
    long found = 0;
    struct dirent *entry;
    DIR *proc = opendir("/proc");
    while (proc && (entry = readdir(proc)))
        found += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
    sprintf(text, "%ld", found);
    if (proc)
        closedir(proc);
}

static void calls(void)
{
#define TRY(name, ...)                                              \
    errno = 0;                                                      \
    syscall(SYS_##name, __VA_ARGS__);                               \
    if (errno != ENOSYS)                                            \
        end += sprintf(end, #name ": %s\n", strerror(errno));
    char *end = text;
    text[0] = 0;
    TRY(mount, "none", "/scratch", "tmpfs", 0, 0)
    TRY(umount2, "/proc", 2)
    TRY(pivot_root, ".", ".")
    TRY(chroot, ".")
    TRY(unshare, CLONE_NEWUSER)
    TRY(setns, 0, 0)
    TRY(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)
    TRY(clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0)
    TRY(clone3, 0, 0)
    TRY(ptrace, PTRACE_TRACEME, 0, 0, 0)
    TRY(process_vm_readv, 1, 0, 0, 0, 0, 0)
    TRY(process_vm_writev, 1, 0, 0, 0, 0, 0)
    TRY(pidfd_getfd, 0, 0, 0)
    TRY(kcmp, 1, 1, 0, 0, 0)
    TRY(keyctl, 0, -3, 0, 0, 0)
    TRY(add_key, "user", "x", "x", 1, -3)
    TRY(request_key, "user", "x", 0, 0)
    TRY(bpf, 0, 0, 0)
    TRY(perf_event_open, 0, 0, -1, -1, 0)
    TRY(io_uring_setup, 1, 0)
    TRY(userfaultfd, 0)
    TRY(open_by_handle_at, -1, 0, 0)
    TRY(fanotify_init, 0, 0)
    TRY(init_module, 0, 0, 0)
    TRY(kexec_load, 0, 0, 0, 0)
    TRY(reboot, 0, 0, 0, 0)
    TRY(syslog, 10, 0, 0)
    TRY(setuid, 0)
    TRY(personality, 0xffffffff)
    TRY(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
    TRY(socket, AF_INET, SOCK_STREAM, 0)
    TRY(socket, AF_NETLINK, SOCK_RAW, 0)
    TRY(socket, AF_PACKET, SOCK_RAW, 0)
    TRY(ioctl, 0, TIOCSTI, "x")
    TRY(ioctl, 0, TIOCLINUX, "x")
}

static void obey(const char *command, char *rest)
{
    char *end;
    long number = strtol(rest, &end, 10);
    const char *name = *end ? end + 1 : end;
#define IS(word) (strcmp(command, word) == 0)
    if (IS("read")) {
        char byte;
        int fd = open(rest, O_RDONLY);
        outcome(fd < 0 || read(fd, &byte, 1) < 0);
        if (fd >= 0)
            close(fd);
    } else if (IS("list")) {
        DIR *folder = opendir(rest);
        outcome(!folder);
        if (folder)
            closedir(folder);
    } else if (IS("write")) {
        int fd = open(rest, O_CREAT | O_WRONLY, 0600);
        outcome(fd < 0);
        if (fd >= 0)
            close(fd);
    } else if (IS("tcp")) {
        char *port = strchr(rest, ' ');
        *port++ = 0;
        tcp(rest, atoi(port));
    } else if (IS("unix"))
        unix_socket(rest);
    else if (IS("linger"))
        linger(rest);
    else if (IS("babble"))
        babble(rest);
    else if (IS("burn"))
        burn(number);
    else if (IS("exec-crash"))
        exec_crash();
    else if (IS("bomb"))
        bomb(number, name);
    else if (IS("fill"))
        fill(number);
    else if (IS("inodes"))
        inodes(number);
    else if (IS("leak-child"))
        leak_child(number);
    else if (IS("ptrace"))
        outcome(ptrace(PTRACE_SEIZE, (pid_t)number, 0, 0) < 0);
    else if (IS("peek"))
        peek((pid_t)number);
    else if (IS("kill"))
        outcome(kill((pid_t)number, SIGTERM));
    else if (IS("signals")) {
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
        signal(SIGSEGV, caught);
        for (;;)
            pause();
    } else if (IS("segv-handler")) {
        signal(SIGSEGV, caught);
        *(volatile int *)16 = 1;
    } else if (IS("_exit"))
        _exit((int)number);
    else if (IS("threads"))
        threads(number);
    else if (IS("tiocsti"))
        tiocsti();
    else if (IS("dumps"))
        dumps();
    else if (IS("shm"))
        outcome(shm_open(rest, O_CREAT | O_RDWR, 0666) < 0);
    else if (IS("sysv"))
        outcome(shmget((key_t)number, 4096, IPC_CREAT | 0666) < 0);
    else if (IS("flood"))
        flood(number);
    else if (IS("long-line"))
        long_line(number);
    else if (IS("setuid"))
        run_setuid(rest);
    else if (IS("calls"))
        calls();
    else if (IS("processes"))
        processes();
    else if (IS("pid"))
        sprintf(text, "%ld", (long)getpid());
    else
        strcpy(text, "no such command");
}

int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata)
{
    static char words[4096];
    char *rest;
    if (size >= sizeof words)
        return 99;
    memcpy(words, data, size);
    words[size] = 0;
    text[0] = 0;
    rest = strchr(words, ' ');
    if (rest)
        *rest++ = 0;
    else
        rest = words + size;
    obey(words, rest);
    *outsize = strlen(text);
    *outdata = text;
    return 0;
}

void worker_free_outdata(uint64_t size, void *outdata)
{
    (void)size;
    (void)outdata;
}
