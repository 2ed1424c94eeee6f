/*
 * A server that wakes whoever comes over TCP, many at once, and a program that goes there. Needs no node.
 *
 *     cc -o teleserver teleserver.c $(pkg-config --cflags --libs farcall)
 *     ./teleserver serve 127.0.0.1 0          # on one host; it says its port
 *     ./teleserver go 127.0.0.1 PORT          # on another
 *
 * Whoever comes runs with all that the server may do: let nobody in whom you would not give a shell.
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <farcall.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* One visitor, in a process of its own: whatever comes harms no other. */
static void wake(int stream, int visitor)
{
    int32_t pid = 0, status = 0;
    if (farcall_telepad(stream, visitor, &pid) != FARCALL_OK)
        fail("no visitor", farcall_last_error());
    close(stream);
    if (farcall_wait_for_exit(pid, &status) != FARCALL_OK)
        fail("a visitor ended badly", farcall_last_error());
    printf("visitor %d has left with status %d\n", visitor, status);
    exit(0);
}

static void serve(struct sockaddr_in address)
{
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        fail("cannot listen there", "try another address, or port 0");
    printf("listening at %s:%d\n", inet_ntoa(address.sin_addr), ntohs(address.sin_port));
    fflush(stdout);
    for (int visitor = 1;; visitor++) {
        int stream = accept(listener, NULL, NULL);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (stream >= 0 && fork() == 0) {
            close(listener);
            wake(stream, visitor);
        }
        close(stream);
    }
}

static int go(struct sockaddr_in address)
{
    int foo = 103;
    int stream = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(stream, (struct sockaddr *)&address, sizeof address) != 0)
        fail("nobody listens there", "see what the server has said");
    farcall_location location;
    if (farcall_telefork_to(stream, &location) != FARCALL_OK)
        fail("cannot go", farcall_last_error());
    if (location.is_copy) {
        printf("visitor %d has woken elsewhere: foo=%d\n", location.value, foo);
        return foo;
    }
    puts("sent");
    return 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (argc != 4 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1) {
        fprintf(stderr, "usage: teleserver serve|go ADDRESS PORT\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[3]));
    if (strcmp(argv[1], "go") == 0)
        return go(address);
    serve(address);
}
