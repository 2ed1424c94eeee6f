/*
 * Counts together with everybody else who runs this, on any host of the cluster: a number in a page that all
 * of them share, and its lock, so that it is read, changed and written by one at a time.
 *
 *     cc -o counter counter.c $(pkg-config --cflags --libs farcall)
 *     FARCALL_NODES=host-a ./counter 1000 & FARCALL_NODES=host-a ./counter 1000; wait
 *
 * The lock makes a point. For a mere number farcall_counter_add is one call, and one round trip.
 */
#include <farcall.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Ends the program where a call fails, with what the library says. */
static void check(farcall_status status)
{
    if (status != FARCALL_OK) {
        fprintf(stderr, "counter: %s\n", farcall_last_error());
        exit(1);
    }
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 100;
    farcall_region_options options = {.pages = 1};
    farcall_cluster *cluster;
    farcall_region *region;
    check(farcall_from_env(&cluster)); /* FARCALL_NODES, or a node on this machine */
    check(farcall_region_open_or_create(cluster, "counter", &options, &region));

    uint64_t number = 0;
    for (long round = 0; round < rounds; round++) {
        farcall_lock *lock;
        check(farcall_lock_page(region, 0, -1, &lock)); /* in the order of asking */
        uint64_t *shared = farcall_lock_bytes(lock);
        number = ++*shared;
        check(farcall_lock_commit(lock, NULL)); /* FARCALL_LOST_LOCK if we slept too long */
        farcall_lock_free(lock);
    }
    printf("%" PRIu64 "\n", number);

    farcall_region_free(region);
    farcall_cluster_free(cluster);
    return 0;
}
