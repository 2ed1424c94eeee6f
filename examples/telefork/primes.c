/*
 * Counts primes on all nodes of a cluster: each call finds the table that this process has made, and answers with
 * what it has counted.
 *
 *     cc -O2 -o primes primes.c $(pkg-config --cflags --libs farcall)
 *     FARCALL_NODES=host-a,host-b ./primes 1000000
 */
#include <farcall.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECES = 8, SMALL = 1 << 16 };

static unsigned small[SMALL], smalls; /* Made here, and there in every call. */
static unsigned limit;

static int is_prime(unsigned number)
{
    for (unsigned at = 0; at < smalls && small[at] <= number / small[at]; at++)
        if (number % small[at] == 0)
            return 0;
    return number >= 2;
}

/* Runs on a node. */
static size_t count(void *context, void *result, size_t room)
{
    unsigned *counted = result, piece = *(unsigned *)context;
    for (unsigned number = piece; number < limit; number += PIECES)
        *counted += (unsigned)is_prime(number);
    return room;
}

static void check(farcall_status status)
{
    if (status != FARCALL_OK) {
        fprintf(stderr, "%s\n", farcall_last_error());
        exit(1);
    }
}

int main(int argc, char **argv)
{
    limit = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000;
    for (unsigned number = 2; number < SMALL; number++)
        if (is_prime(number))
            small[smalls++] = number;

    farcall_cluster *cluster;
    farcall_call *calls[PIECES];
    check(farcall_from_env(&cluster));
    for (unsigned piece = 0; piece < PIECES; piece++)
        check(farcall_fork_call(cluster, NULL, count, &piece, sizeof(unsigned), &calls[piece]));
    unsigned sum = 0;
    for (unsigned piece = 0; piece < PIECES; piece++) {
        const void *counted;
        check(farcall_call_wait(calls[piece], &counted, NULL));
        sum += *(const unsigned *)counted;
        farcall_call_free(calls[piece]);
    }
    printf("%u primes below %u\n", sum, limit);
    farcall_cluster_free(cluster);
    return 0;
}
