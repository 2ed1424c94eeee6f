/* Processes that send copies of themselves, into files and over sockets. Needs no node. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static _Thread_local int local = 3;

/* Into a file, and back out of it as a child. */
static int basic(const char *path)
{
    int foo = 103;
    puts("Hello!");
    local = 4;
    printf("tls: %d\n", local);
    fflush(stdout);

    farcall_location location;
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    CHECK(fd >= 0);
    DONE(farcall_telefork_to(fd, &location));
    if (location.is_copy) {
        CHECK(write(fd, "x", 1) == -1); /* It has the number, and nothing behind it. */
        printf("hello from a strange new world where I woke up passed %d\n", location.value);
        printf("My local variable says foo=%d and I'm going to exit with that status\n", foo);
        printf("tls: %d\n", local);
        exit(foo);
    }
    CHECK(close(fd) == 0);
    puts("finished teleforking");
    fflush(stdout);

    int32_t pid = 0, status = 0;
    fd = open(path, O_RDONLY);
    DONE(farcall_telepad(fd, 7, &pid));
    CHECK(close(fd) == 0 && pid > 0);
    DONE(farcall_wait_for_exit(pid, &status));
    printf("child exited with status = %d\n", status);
    return 0;
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Wakes whoever comes over TCP, one after the other. */
static int server(int visitors)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    CHECK(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 8) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    printf("listening at %d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int visitor = 1; visitor <= visitors; visitor++) {
        int stream = accept(listener, NULL, NULL);
        int32_t pid = 0, status = 0;
        DONE(farcall_telepad(stream, visitor, &pid));
        CHECK(close(stream) == 0);
        DONE(farcall_wait_for_exit(pid, &status));
        printf("visitor %d ended with %d\n", visitor, status);
        fflush(stdout);
    }
    return 0;
}

/* Goes to the server; all that is printed after that is printed there. */
static int client(int port, int argc)
{
    /* What a compiler would keep in registers over the call. */
    int foo = 100 + argc - 1;
    double half = argc / 2.0;
    uint64_t words[6];
    for (int at = 0; at < 6; at++)
        words[at] = (uint64_t)(at + argc) * 0x9e3779b97f4a7c15u;

    int stream = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(port);
    CHECK(connect(stream, (struct sockaddr *)&address, sizeof address) == 0);
    farcall_location location = {9, 9};
    DONE(farcall_telefork_to(stream, &location));

    for (int at = 0; at < 6; at++)
        CHECK(words[at] == (uint64_t)(at + argc) * 0x9e3779b97f4a7c15u);
    CHECK(half == argc / 2.0);
    if (location.is_copy) {
        printf("visitor %d has foo=%d\n", location.value, foo);
        fflush(stdout);
        return foo;
    }
    CHECK(location.is_copy == 0 && location.value == 0);
    puts("sent a copy");
    return 0;
}

/* Images that are none, streams that break, children that die. */
static int failures(const char *path)
{
    farcall_location location;
    int32_t pid = 0, status = 0;
    int fd = open("/dev/null", O_RDONLY);
    GIVES(FARCALL_NO_IMAGE, farcall_telepad(fd, 1, &pid)); /* Nothing. */
    close(fd);
    fd = open("/proc/self/maps", O_RDONLY);
    GIVES(FARCALL_NO_IMAGE, farcall_telepad(fd, 1, &pid)); /* Something else. */
    CHECK(fcntl(fd, F_GETFD) >= 0); /* Ours, still open. */
    close(fd);

    /* A reader that is gone: a failure, and no signal. */
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    close(pair[1]);
    GIVES(FARCALL_KERNEL, farcall_telefork_to(pair[0], &location));
    close(pair[0]);

    /* A copy that a signal ends, and the same image without its end and with one byte changed. */
    fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    DONE(farcall_telefork_to(fd, &location));
    if (location.is_copy)
        abort();
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    DONE(farcall_telepad(fd, 1, &pid));
    status = 77;
    GIVES(FARCALL_KILLED, farcall_wait_for_exit(pid, &status));
    CHECK(status == 77 && strstr(farcall_last_error(), "signal 6"));
    GIVES(FARCALL_KERNEL, farcall_wait_for_exit(pid, &status)); /* It is gone. */

    off_t length = lseek(fd, 0, SEEK_END);
    char byte = 0;
    CHECK(pread(fd, &byte, 1, length / 2) == 1);
    byte ^= 1;
    CHECK(pwrite(fd, &byte, 1, length / 2) == 1 && lseek(fd, 0, SEEK_SET) == 0);
    GIVES(FARCALL_NO_IMAGE, farcall_telepad(fd, 1, &pid));
    byte ^= 1;
    CHECK(pwrite(fd, &byte, 1, length / 2) == 1);
    CHECK(ftruncate(fd, length - 1) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    GIVES(FARCALL_NO_IMAGE, farcall_telepad(fd, 1, &pid));
    close(fd);
    puts("every failure has its status");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "basic") == 0)
        return basic(argv[2]);
    if (argc == 3 && strcmp(argv[1], "server") == 0)
        return server(atoi(argv[2]));
    if (argc == 4 && strcmp(argv[1], "client") == 0)
        return client(atoi(argv[2]), argc);
    if (argc == 3 && strcmp(argv[1], "failures") == 0)
        return failures(argv[2]);
    fprintf(stderr, "usage: telefork basic FILE | server VISITORS | client PORT again | failures FILE\n");
    return 2;
}
