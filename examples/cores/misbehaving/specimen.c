/*
 * A core that does what its input says, so that tests can ask for any kind of trouble.
 *
 *   noop            nothing; no output. An empty input means the same
 *   echo TEXT       answers TEXT (any bytes)
 *   null            no output, said outright: size 0 and NULL
 *   empty           an output of size 0 with an address
 *   null N          claims N bytes of output at NULL, which the contract forbids
 *   huge            claims 2^63 bytes of output
 *   zeros N         answers N bytes of 0
 *   rc N            returns N, no output
 *   rc N TEXT       returns N, answers TEXT
 *   scribble        overwrites its whole input, answers "scribbled"
 *   grow            answers its input three times over
 *   aligned         answers "yes" if the input is at a multiple of 16 and may be written
 *   x, crash        SIGSEGV
 *   overflow        SIGSEGV by recursion without end
 *   abort           SIGABRT
 *   signal N        dies of signal N
 *   exit N          calls exit(N)
 *   hang            computes for ever
 *   sleep N         sleeps N milliseconds, answers N
 *   work N          keeps a processor busy for N milliseconds of its time, answers N
 *   leak N          keeps N MiB for ever, every page touched; answers N
 *   files N         opens N files and keeps them; answers how many it could open
 *   fork N          leaves a child process behind that sleeps N milliseconds; answers its pid
 *   write PATH      makes a file, answers "ok" or the error's text
 *   connect PORT    connects to that port of 127.0.0.1, answers "ok" or the error's text
 *   pid             answers the id of its process
 *   count           answers how many jobs this process has run, this one included
 *   env NAME        answers the value of an environment variable, exit code 1 if it has none
 *   cwd             answers its working directory
 *   stdout TEXT     writes a line to standard output
 *   stderr TEXT     writes a line to standard error
 *   murmur TEXT     writes TEXT to standard error, then waits for ever
 *   spam N          writes N lines to standard error
 *
 * Anything else: exit code 99, and the input as the output.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "farcall_core.h"

static unsigned long jobs;
static uint64_t *result_size;
static void **result;

int32_t worker_init(int32_t version)
{
    return version == FARCALL_CORE_API_VERSION ? 0 : 1;
}

static int32_t answer(const void *bytes, uint64_t size)
{
    void *copy = malloc(size ? size : 1);
    if (!copy)
        return 98;
    memcpy(copy, bytes, size);
    *result = copy;
    *result_size = size;
    return 0;
}

static int32_t answer_text(const char *text)
{
    return answer(text, strlen(text));
}

static int32_t answer_number(long number)
{
    char text[32];
    sprintf(text, "%ld", number);
    return answer_text(text);
}

static int32_t answer_outcome(int failed)
{
    return answer_text(failed ? strerror(errno) : "ok");
}

static volatile unsigned long sink;

static unsigned long recurse(unsigned long depth)
{
    volatile char frame[4096];
    frame[0] = (char)depth;
    if (depth == (unsigned long)-1)
        return 0;
    return recurse(depth + 1) + (unsigned long)frame[0];
}

static void sleep_ms(long ms)
{
    struct timespec rest;
    rest.tv_sec = ms / 1000;
    rest.tv_nsec = ms % 1000 * 1000000;
    while (nanosleep(&rest, &rest) && errno == EINTR)
        ;
}

static void work_ms(long ms)
{
    clock_t end = clock() + (clock_t)((double)ms * CLOCKS_PER_SEC / 1000);
    while (clock() < end) {
        int i;
        for (i = 0; i < 10000; i++)
            sink += (unsigned long)i * sink;
    }
}

static int32_t leak_mib(long mib)
{
    long i;
    for (i = 0; i < mib; i++) {
        volatile char *block = malloc(1 << 20);
        size_t at;
        if (!block)
            return 98;
        for (at = 0; at < 1 << 20; at += 4096)
            block[at] = 1;
    }
    return answer_number(mib);
}

static int32_t keep_files(long wanted)
{
    long opened = 0;
    while (opened < wanted && open("/dev/null", O_RDONLY) >= 0)
        opened++;
    return answer_number(opened);
}

static int32_t leave_child(long ms)
{
    pid_t child = fork();
    if (child == 0) {
        sleep_ms(ms);
        _exit(0);
    }
    return answer_number(child);
}

static int32_t write_file(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    int failed = fd < 0 || write(fd, "here\n", 5) != 5;
    int32_t code = answer_outcome(failed);
    if (fd >= 0)
        close(fd);
    return code;
}

static int32_t connect_to(long port)
{
    struct sockaddr_in address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int32_t code;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    code = answer_outcome(fd < 0
                          || connect(fd, (struct sockaddr *)&address, sizeof address));
    if (fd >= 0)
        close(fd);
    return code;
}

/* `rest` is what follows the command and a space, `rest_size` bytes and then a 0. */
static int32_t obey(const char *command, const char *rest, uint64_t rest_size,
                    uint64_t size, char *data)
{
    char *end;
    long number = strtol(rest, &end, 10);

#define IS(name) (strcmp(command, name) == 0)
    if (IS("noop"))
        return 0;
    if (IS("echo"))
        return answer(rest, rest_size);
    if (IS("null")) {
        *result_size = (uint64_t)number;
        *result = NULL;
        return 0;
    }
    if (IS("empty"))
        return answer("", 0);
    if (IS("huge")) {
        answer("", 0);
        *result_size = (uint64_t)1 << 63;
        return 0;
    }
    if (IS("zeros")) {
        *result = calloc(1, (size_t)number + 1);
        *result_size = (uint64_t)number;
        return *result ? 0 : 98;
    }
    if (IS("rc")) {
        if (*end == ' ')
            answer_text(end + 1);
        return (int32_t)number;
    }
    if (IS("scribble")) {
        memset(data, 0xee, size);
        return answer_text("scribbled");
    }
    if (IS("grow")) {
        int i;
        char *three = malloc(3 * size);
        for (i = 0; three && i < 3; i++)
            memcpy(three + (uint64_t)i * size, data, size);
        *result = three;
        *result_size = three ? 3 * size : 0;
        return three ? 0 : 98;
    }
    if (IS("aligned")) {
        data[0] = 'A';
        return answer_text((uintptr_t)data % 16 == 0 ? "yes" : "no");
    }
    if (IS("x") || IS("crash")) {
        *(volatile int *)16 = 1;
        return 97;
    }
    if (IS("overflow")) {
        sink = recurse(sink);
        return 97;
    }
    if (IS("abort"))
        abort();
    if (IS("signal"))
        return raise((int)number) ? 97 : 0;
    if (IS("exit"))
        exit((int)number);
    if (IS("hang"))
        for (;;)
            sink++;
    if (IS("sleep")) {
        sleep_ms(number);
        return answer_number(number);
    }
    if (IS("work")) {
        work_ms(number);
        return answer_number(number);
    }
    if (IS("leak"))
        return leak_mib(number);
    if (IS("files"))
        return keep_files(number);
    if (IS("fork"))
        return leave_child(number);
    if (IS("write"))
        return write_file(rest);
    if (IS("connect"))
        return connect_to(number);
    if (IS("pid"))
        return answer_number((long)getpid());
    if (IS("count"))
        return answer_number((long)jobs);
    if (IS("env")) {
        const char *value = getenv(rest);
        return value ? answer_text(value) : 1;
    }
    if (IS("cwd")) {
        char path[4096];
        return answer_text(getcwd(path, sizeof path) ? path : strerror(errno));
    }
    if (IS("stdout")) {
        printf("%s\n", rest);
        fflush(stdout);
        return 0;
    }
    if (IS("stderr")) {
        fprintf(stderr, "%s\n", rest);
        return 0;
    }
    if (IS("spam")) {
        long i;
        for (i = 0; i < number; i++)
            fprintf(stderr, "line %ld of %ld\n", i + 1, number);
        return 0;
    }
    if (IS("murmur")) {
        fprintf(stderr, "%s\n", rest);
        for (;;)
            pause();
    }
    answer(data, size);
    return 99;
}

int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata)
{
    /* A copy, because the input does not end with a 0. */
    char *text;
    char *space;
    int32_t code;

    jobs++;
    if (size == 0)
        return 0;
    result_size = outsize;
    result = outdata;
    text = malloc(size + 2);
    if (!text)
        return 98;
    memcpy(text, data, size);
    text[size] = text[size + 1] = 0;

    space = memchr(text, ' ', size);
    if (space) {
        *space = 0;
        code = obey(text, space + 1, size - (uint64_t)(space + 1 - text), size, data);
    } else {
        code = obey(text, text + size, 0, size, data);
    }
    free(text);
    return code;
}

void worker_free_outdata(uint64_t size, void *outdata)
{
    (void)size;
    free(outdata);
}
